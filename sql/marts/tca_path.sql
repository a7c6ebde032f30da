-- grain: parent order x bucket in which it was filled
-- reads: tca_fills
-- gives: how far the mid had moved from the order's arrival when its fills met it, and whose flow did it, signed so
--        that positive = worse [bps of the bucket's notional]: drift_bps = self_now_bps + self_carried_bps + cross_bps
--        + peers_bps + market_bps + residual_bps
WITH met AS (
    SELECT
        order_id,
        any_value(symbol) AS symbol,
        ts,
        sum(notional_usd) AS notional_usd,
        sum(self_usd + cross_realized_usd) AS drift_usd,
        sum(self_now_usd) AS self_now_usd,
        sum(self_own_carried_usd + self_sibling_carried_usd) AS self_carried_usd,
        sum(cross_usd) AS cross_usd,
        sum(peers_usd) AS peers_usd,
        sum(market_usd) AS market_usd,
        sum(residual_usd) AS residual_usd
    FROM tca_fills
    WHERE NOT is_orphan
    GROUP BY order_id, ts
)
SELECT
    order_id,
    symbol,
    ts,
    notional_usd,
    1e4 * drift_usd / nullif(notional_usd, 0) AS drift_bps,
    1e4 * self_now_usd / nullif(notional_usd, 0) AS self_now_bps,
    1e4 * self_carried_usd / nullif(notional_usd, 0) AS self_carried_bps,
    1e4 * cross_usd / nullif(notional_usd, 0) AS cross_bps,
    1e4 * peers_usd / nullif(notional_usd, 0) AS peers_bps,
    1e4 * market_usd / nullif(notional_usd, 0) AS market_bps,
    1e4 * residual_usd / nullif(notional_usd, 0) AS residual_bps
FROM met
ORDER BY order_id, ts
