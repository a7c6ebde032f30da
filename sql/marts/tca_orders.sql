-- grain: a booked order: its part of the date
-- reads: struck (what it is measured against), tca_fills, regimes (features), instruments (accepted, one date), releases,
--        benchmarks (order_id and what the market did meanwhile: sql/marts/tca_benchmarks.sql), noise (order_id,
--        residual_sd_usd)
-- gives: the shortfall and its causes, positive = worse [USD, exact micro-dollars]: total_usd = self_usd + cross_usd +
--        timing_usd + delay_usd + fees_spread_usd + opportunity_usd, sums of its fills and, unless it lasts on, the
--        opportunity of what was not executed; the same in bps of notional_usd; what makes orders comparable
-- What was not filled is marked at CLOSE, without it at the symbol's last snapshot, without that at the decision
-- (close_from says which; null when nothing was left). Notional is ordered x decision price; of an order that lasts on
-- it is what was filled, and the rest is its last date's. release_id, in_sample and release_status are those of the fills,
-- without any those at the decision.
WITH by_regime AS (
    SELECT order_id, regime, sum(notional_usd) AS notional_usd FROM tca_fills GROUP BY order_id, regime
),
mostly AS (
    SELECT order_id, arg_max(regime, (notional_usd, regime)) AS regime FROM by_regime GROUP BY order_id
),
executed AS (
    SELECT
        order_id,
        count(*) AS n_fills,
        sum(fill_qty) AS filled_qty,
        sum(notional_usd) AS filled_usd,
        sum(per_bps_usd) AS per_bps_usd,
        sum(total_usd) AS total_usd,
        sum(cross_realized_usd) AS cross_realized_usd,
        sum(self_usd) AS self_usd,
        sum(cross_usd) AS cross_usd,
        sum(timing_usd) AS timing_usd,
        sum(delay_usd) AS delay_usd,
        sum(fees_spread_usd) AS fees_spread_usd,
        sum(self_now_usd) AS self_now_usd,
        sum(self_own_carried_usd) AS self_own_carried_usd,
        sum(self_sibling_carried_usd) AS self_sibling_carried_usd,
        sum(cross_now_usd) AS cross_now_usd,
        sum(cross_carried_usd) AS cross_carried_usd,
        sum(peers_usd) AS peers_usd,
        sum(market_usd) AS market_usd,
        sum(residual_usd) AS residual_usd,
        sum(delay_self_usd) AS delay_self_usd,
        sum(delay_cross_usd) AS delay_cross_usd,
        sum(delay_peers_usd) AS delay_peers_usd,
        sum(delay_market_usd) AS delay_market_usd,
        sum(delay_residual_usd) AS delay_residual_usd,
        sum(fees_usd) AS fees_usd,
        sum(spread_usd) AS spread_usd,
        count(*) FILTER (WHERE without_mid) AS fills_without_mid,
        coalesce(sum(fill_qty) FILTER (WHERE without_mid), 0) AS executed_unpriced_qty,
        coalesce(sum(notional_usd) FILTER (WHERE without_mid), 0) AS executed_unpriced_usd,
        string_agg(DISTINCT nullif(status, 'ok'), '; ' ORDER BY nullif(status, 'ok')) AS fills_status,
        string_agg(DISTINCT priced_by, '; ' ORDER BY priced_by) AS priced_by,
        string_agg(DISTINCT release_id, '; ' ORDER BY release_id) AS release_id,
        bool_or(in_sample) AS in_sample,
        string_agg(DISTINCT release_status, '; ' ORDER BY release_status) AS release_status
    FROM tca_fills
    GROUP BY order_id
),
-- of an order without a fill
decided AS (
    SELECT
        struck.order_id,
        regime AS regime_then,
        releases.release_id AS release_then,
        releases.in_sample AS in_sample_then,
        releases.release_status AS status_then
    FROM struck
    ASOF LEFT JOIN regimes ON struck.decision_ts >= regimes.ts
    ASOF LEFT JOIN releases ON struck.decision_ts >= releases.since
),
rested AS (
    SELECT
        struck.*,
        executed.* EXCLUDE (order_id, filled_qty, n_fills, fills_without_mid),
        if(side = 'BUY', 1, -1)::BIGINT AS direction,
        coalesce(n_fills, 0) AS n_fills,
        coalesce(fills_without_mid, 0) AS fills_without_mid,
        coalesce(executed.filled_qty, 0)::DECIMAL(24, 8) AS filled_qty,
        if(is_over, 0, greatest(parent_qty - filled_before_qty - coalesce(executed.filled_qty, 0), 0))::DECIMAL(24, 8)
            AS unfilled_qty
    FROM struck
    LEFT JOIN executed USING (order_id)
),
money AS (
    SELECT
        * REPLACE (
        coalesce(cross_realized_usd, 0)::DECIMAL(38, 6) AS cross_realized_usd,
        coalesce(self_usd, 0)::DECIMAL(38, 6) AS self_usd,
        coalesce(cross_usd, 0)::DECIMAL(38, 6) AS cross_usd,
        coalesce(timing_usd, 0)::DECIMAL(38, 6) AS timing_usd,
        coalesce(delay_usd, 0)::DECIMAL(38, 6) AS delay_usd,
        coalesce(fees_spread_usd, 0)::DECIMAL(38, 6) AS fees_spread_usd,
        coalesce(self_now_usd, 0)::DECIMAL(38, 6) AS self_now_usd,
        coalesce(self_own_carried_usd, 0)::DECIMAL(38, 6) AS self_own_carried_usd,
        coalesce(self_sibling_carried_usd, 0)::DECIMAL(38, 6) AS self_sibling_carried_usd,
        coalesce(cross_now_usd, 0)::DECIMAL(38, 6) AS cross_now_usd,
        coalesce(cross_carried_usd, 0)::DECIMAL(38, 6) AS cross_carried_usd,
        coalesce(peers_usd, 0)::DECIMAL(38, 6) AS peers_usd,
        coalesce(market_usd, 0)::DECIMAL(38, 6) AS market_usd,
        coalesce(residual_usd, 0)::DECIMAL(38, 6) AS residual_usd,
        coalesce(delay_self_usd, 0)::DECIMAL(38, 6) AS delay_self_usd,
        coalesce(delay_cross_usd, 0)::DECIMAL(38, 6) AS delay_cross_usd,
        coalesce(delay_peers_usd, 0)::DECIMAL(38, 6) AS delay_peers_usd,
        coalesce(delay_market_usd, 0)::DECIMAL(38, 6) AS delay_market_usd,
        coalesce(delay_residual_usd, 0)::DECIMAL(38, 6) AS delay_residual_usd,
        coalesce(fees_usd, 0)::DECIMAL(38, 6) AS fees_usd,
        coalesce(spread_usd, 0)::DECIMAL(38, 6) AS spread_usd
        ),
        if(is_open, 0, unfilled_qty) AS missed_qty,
        1e-4 * (direction * missed_qty * decision_px)::DOUBLE AS unfilled_per_bps,
        round(
            if(is_over, 0, if(is_open, filled_qty, greatest(parent_qty - filled_before_qty, 0))) * decision_px, 6
        )::DECIMAL(38, 6) AS notional_usd,
        round(direction * missed_qty * (close_px - decision_px), 6)::DECIMAL(38, 6) AS opportunity_usd,
        coalesce(total_usd, 0)::DECIMAL(38, 6) AS executed_usd
    FROM rested
),
missed AS (
    SELECT
        * EXCLUDE (total_usd),
        executed_usd + opportunity_usd AS total_usd,
        (unfilled_per_bps * opportunity_self_bps)::DECIMAL(38, 6) AS opportunity_self_usd,
        (unfilled_per_bps * opportunity_cross_bps)::DECIMAL(38, 6) AS opportunity_cross_usd,
        (unfilled_per_bps * opportunity_peers_bps)::DECIMAL(38, 6) AS opportunity_peers_usd,
        (unfilled_per_bps * opportunity_market_bps)::DECIMAL(38, 6) AS opportunity_market_usd,
        opportunity_usd - opportunity_self_usd - opportunity_cross_usd - opportunity_peers_usd
        - opportunity_market_usd AS opportunity_residual_usd,
        -- what lay in the mid at the name's first arrival of the day
        first_value(self_struck_bps + cross_struck_bps) OVER (
            PARTITION BY symbol ORDER BY arrival_ts, order_id
        ) AS first_struck_bps
    FROM money
),
gamed AS (
    SELECT
        *,
        (self_own_carried_usd + self_sibling_carried_usd + cross_carried_usd)::DOUBLE AS carried,
        carried + coalesce(per_bps_usd * (self_struck_bps + cross_struck_bps - first_struck_bps), 0) AS carried_hybrid
    FROM missed
)
SELECT
    order_id,
    basket_id,
    gamed.symbol,
    sector,
    side,
    coalesce(regime, regime_then, 'unknown') AS regime,
    coalesce(nullif(concat_ws('; ', nullif(told, ''), fills_status), ''), 'ok') AS status,
    date::VARCHAR AS first_date,
    is_open,
    decision_ts,
    arrival_ts,
    end_ts,
    first_fill_ts,
    last_fill_ts,
    parent_qty,
    filled_before_qty,
    filled_qty,
    unfilled_qty,
    coalesce(executed_unpriced_qty, 0) AS executed_unpriced_qty,
    coalesce(executed_unpriced_usd, 0) AS executed_unpriced_usd,
    n_fills,
    fills_without_mid,
    notional_usd,
    coalesce(filled_usd, 0) AS filled_usd,
    decision_px,
    arrival_px,
    filled_usd::DOUBLE / nullif(filled_qty::DOUBLE, 0) AS average_px,
    close_px,
    if(n_fills > 0, arrival_from, NULL) AS arrival_from,
    if(missed_qty > 0, close_from, NULL) AS close_from,
    total_usd,
    self_usd,
    cross_usd,
    timing_usd,
    delay_usd,
    fees_spread_usd,
    opportunity_usd,
    cross_realized_usd,
    self_now_usd,
    self_own_carried_usd,
    self_sibling_carried_usd,
    cross_now_usd,
    cross_carried_usd,
    peers_usd,
    market_usd,
    residual_usd,
    delay_self_usd,
    delay_cross_usd,
    delay_peers_usd,
    delay_market_usd,
    delay_residual_usd,
    fees_usd,
    spread_usd,
    opportunity_self_usd,
    opportunity_cross_usd,
    opportunity_peers_usd,
    opportunity_market_usd,
    opportunity_residual_usd,
    1e4 * total_usd / nullif(notional_usd, 0) AS total_bps,
    1e4 * self_usd / nullif(notional_usd, 0) AS self_bps,
    1e4 * cross_usd / nullif(notional_usd, 0) AS cross_bps,
    1e4 * timing_usd / nullif(notional_usd, 0) AS timing_bps,
    1e4 * delay_usd / nullif(notional_usd, 0) AS delay_bps,
    1e4 * fees_spread_usd / nullif(notional_usd, 0) AS fees_spread_bps,
    1e4 * opportunity_usd / nullif(notional_usd, 0) AS opportunity_bps,
    1e4 * cross_realized_usd / nullif(notional_usd, 0) AS cross_realized_bps,
    1e4 * peers_usd / nullif(notional_usd, 0) AS peers_bps,
    1e4 * market_usd / nullif(notional_usd, 0) AS market_bps,
    1e4 * residual_usd / nullif(notional_usd, 0) AS residual_bps,
    1e4 * (self_usd + cross_realized_usd + fees_spread_usd) / nullif(filled_usd, 0) AS slippage_bps,
    1e4 * (total_usd - market_usd - delay_market_usd - opportunity_market_usd) / nullif(notional_usd, 0)
        AS market_adjusted_bps,
    1e4 * residual_sd_usd / nullif(notional_usd, 0) AS residual_sd_bps,
    residual_usd / nullif(residual_sd_usd, 0) AS residual_z,
    1e4 * (self_usd + cross_usd) / nullif(notional_usd, 0) AS expected_bps,
    timing_usd / nullif(residual_sd_usd, 0) AS expected_z,
    1e4 * direction * (average_px / nullif(arrival_px::DOUBLE, 0) - 1) AS arrival_cost_bps,
    1e4 * direction * (average_px / vwap_px - 1) AS vwap_bps,
    1e4 * direction * (average_px / twap_px - 1) AS twap_bps,
    1e4 * direction * (average_px / interval_mid_px - 1) AS interval_mid_bps,
    1e4 * direction * (average_px / nullif(close_px::DOUBLE, 0) - 1) AS close_bps,
    1e4 * direction * (average_px / pwp10_px - 1) AS pwp10_bps,
    rpm,
    2e4 * spread_usd / nullif(filled_usd, 0) AS effective_spread_bps,
    filled_qty::DOUBLE / nullif(volume, 0) AS participation,
    100 * filled_usd::DOUBLE / nullif(adv_notional, 0) AS pct_adv,
    epoch(last_fill_ts - arrival_ts) / 60 AS duration_min,
    spread_arrival_bps,
    vol_bps,
    alpha_bps,
    1e4 * direction * (1 - mid_30min / mid_end) AS reversion_30min_bps,
    1e4 * direction * (1 - mid_60min / mid_end) AS reversion_60min_bps,
    1e4 * (self_now_usd + cross_now_usd + carried) / nullif(notional_usd, 0) AS separate_bps,
    1e4 * (self_now_usd + cross_now_usd + carried_hybrid) / nullif(notional_usd, 0) AS hybrid_bps,
    carried < -1e-6 AND carried_hybrid > 1e-6 AS benchmark_gaming,
    nullif(
        concat_ws(
            '; ',
            if(abs(residual_z) > 3, printf('residual %.1f sd', residual_z), NULL),
            if(participation > 0.3, printf('%.0f%% of the volume', 100 * participation), NULL),
            if(abs(total_bps) > 500, printf('%.0f bps', total_bps), NULL)
        ),
        ''
    ) AS outlier_reason,
    coalesce(priced_by, 'none (no fill)') AS priced_by,
    coalesce(gamed.release_id, release_then) AS release_id,
    coalesce(gamed.in_sample, in_sample_then) AS in_sample,
    coalesce(gamed.release_status, status_then) AS release_status
FROM gamed
LEFT JOIN mostly USING (order_id)
LEFT JOIN decided USING (order_id)
LEFT JOIN benchmarks USING (order_id)
LEFT JOIN noise USING (order_id)
LEFT JOIN instruments ON gamed.symbol = instruments.symbol
ORDER BY order_id
