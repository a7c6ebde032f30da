-- grain: parent order x bucket in which it was filled
-- reads: tca_fills
-- gives: how far the mid had moved from the order's arrival when its fills met it, and whose flow did it, signed so
--        that positive = worse [bps of the bucket's notional]: drift_bps = self_now_bps + self_carried_bps + cross_bps
--        + peers_bps + residual_bps; self and cross as the release says, rest is what it does not explain
WITH met AS (
    SELECT
        order_id,
        any_value(symbol) AS symbol,
        ts,
        sum(notional_usd) AS notional_usd,
        sum(shortfall_usd - delay_usd - spread_usd) AS drift_usd,
        sum(self_usd) AS self_now_usd,
        sum(self_carried_usd) AS self_carried_usd,
        sum(cross_usd + cross_carried_usd) AS cross_realized_usd,
        sum(peers_usd) AS peers_usd
    FROM tca_fills
    WHERE NOT is_orphan
    GROUP BY order_id, ts
)
SELECT
    order_id,
    symbol,
    ts,
    round(notional_usd, 6)::DECIMAL(38, 6) AS notional_usd,
    1e4 * drift_usd / nullif(notional_usd, 0) AS drift_bps,
    1e4 * self_now_usd / nullif(notional_usd, 0) AS self_now_bps,
    1e4 * self_carried_usd / nullif(notional_usd, 0) AS self_carried_bps,
    1e4 * cross_realized_usd / nullif(notional_usd, 0) AS cross_bps,
    1e4 * peers_usd / nullif(notional_usd, 0) AS peers_bps,
    1e4 * (drift_usd - self_now_usd - self_carried_usd - cross_realized_usd - peers_usd) / nullif(notional_usd, 0) AS residual_bps
FROM met
ORDER BY order_id, ts
