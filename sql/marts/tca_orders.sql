-- grain: an accepted parent order
-- reads: parent_orders, instruments, benchmark_marks, market_snapshots (accepted, one date), tca_fills, releases
-- gives: the shortfall and its five parts, positive = worse [USD, exact micro-dollars]:
--        total_usd = self_usd + cross_realized_usd + delay_usd + fees_spread_usd + opportunity_usd, where cross_realized_usd is what
--        self, delay, fees, spread and opportunity leave (= the drift from arrival to the fills less self_usd) and
--        residual_usd = cross_realized_usd - cross_usd - peers_usd. Self and predicted cross have a part of the
--        fills' own buckets and one carried over from earlier ones since the arrival: self_usd = self_now_usd +
--        self_own_carried_usd, cross_usd = cross_now_usd + cross_carried_usd; peers_usd is what the release
--        says others' flow moved since the arrival; the same in bps of notional_usd (quantity ordered x
--        decision price); slippage_bps [bps of filled_usd] is the executed part after arrival, fees included
-- What was not filled is marked at CLOSE, without it at the symbol's last snapshot, without that at the decision
-- (close_from says which; null when nothing was left). release_id, in_sample and release_status are those of the fills,
-- without any those at the decision.
WITH orders AS (
    SELECT
        order_id,
        basket_id,
        symbol,
        side,
        decision_ts,
        start_ts,
        end_ts,
        parent_qty::DECIMAL(24, 8) AS parent_qty,
        if(side = 'BUY', 1, -1)::BIGINT AS direction,
        decision_px::DECIMAL(28, 10) AS decision_px
    FROM parent_orders
),
executed AS (
    SELECT
        order_id,
        count(*) AS n_fills,
        sum(fill_qty) AS filled_qty,
        sum(notional_usd) AS filled_usd,
        sum(fees_usd) AS fees_usd,
        sum(shortfall_usd) AS shortfall_usd,
        sum(delay_usd) AS delay_usd,
        sum(spread_usd) AS spread_usd,
        sum(self_usd) AS self_now_usd,
        sum(self_carried_usd) AS self_own_carried_usd,
        sum(cross_usd) AS cross_now_usd,
        sum(cross_carried_usd) AS cross_carried_usd,
        sum(peers_usd) AS peers_usd,
        count(*) FILTER (WHERE without_mid) AS fills_without_mid,
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
        order_id,
        release_id AS release_then,
        in_sample AS in_sample_then,
        release_status AS status_then
    FROM parent_orders
    ASOF LEFT JOIN releases ON parent_orders.decision_ts >= releases.since
),
marks AS (
    SELECT
        order_id,
        max(px::DECIMAL(28, 10)) FILTER (WHERE mark = 'CLOSE') AS close_px,
        count(*) FILTER (WHERE mark = 'ARRIVAL') AS arrivals
    FROM benchmark_marks
    GROUP BY order_id
),
last_quotes AS (
    SELECT symbol, arg_max((bid_px + ask_px) / 2, ts)::DECIMAL(28, 10) AS last_mid
    FROM market_snapshots
    GROUP BY symbol
),
rested AS (
    SELECT
        orders.*,
        greatest(parent_qty - coalesce(filled_qty, 0), 0) AS unfilled_qty,
        coalesce(close_px, last_mid, orders.decision_px) AS close_px,
        CASE
            WHEN close_px IS NOT NULL THEN 'CLOSE'
            WHEN last_mid IS NOT NULL THEN 'last snapshot'
            ELSE 'decision'
        END AS close_from,
        if(coalesce(arrivals, 0) > 0, 'ARRIVAL', 'decision') AS arrival_from
    FROM orders
    LEFT JOIN executed USING (order_id)
    LEFT JOIN marks USING (order_id)
    LEFT JOIN last_quotes USING (symbol)
),
exact AS (
    SELECT
        rested.*,
        coalesce(n_fills, 0) AS n_fills,
        coalesce(filled_qty, 0) AS filled_qty,
        coalesce(fills_without_mid, 0) AS fills_without_mid,
        coalesce(priced_by, 'none (no fill)') AS priced_by,
        executed.release_id,
        executed.in_sample,
        executed.release_status,
        parent_qty * decision_px AS notional,
        direction * unfilled_qty * (close_px - decision_px) AS opportunity,
        coalesce(filled_usd, 0) AS filled,
        coalesce(fees_usd, 0) AS fees,
        coalesce(shortfall_usd, 0) AS shortfall,
        coalesce(delay_usd, 0) AS delay,
        coalesce(spread_usd, 0) AS spread,
        coalesce(self_now_usd, 0) AS self_now,
        coalesce(self_own_carried_usd, 0) AS self_carried,
        coalesce(cross_now_usd, 0) AS cross_now,
        coalesce(cross_carried_usd, 0) AS cross_carried,
        coalesce(peers_usd, 0) AS peers
    FROM rested
    LEFT JOIN executed USING (order_id)
),
money AS (
    SELECT
        *,
        round(notional, 6)::DECIMAL(38, 6) AS notional_usd,
        round(filled, 6)::DECIMAL(38, 6) AS filled_usd,
        round(shortfall + fees + opportunity, 6)::DECIMAL(38, 6) AS total_usd,
        round(delay, 6)::DECIMAL(38, 6) AS delay_usd,
        round(fees, 6)::DECIMAL(38, 6) AS fees_usd,
        round(spread, 6)::DECIMAL(38, 6) AS spread_usd,
        round(self_now, 6)::DECIMAL(38, 6) AS self_now_usd,
        round(self_carried, 6)::DECIMAL(38, 6) AS self_own_carried_usd,
        round(cross_now, 6)::DECIMAL(38, 6) AS cross_now_usd,
        round(cross_carried, 6)::DECIMAL(38, 6) AS cross_carried_usd,
        round(peers, 6)::DECIMAL(38, 6) AS peers_usd,
        round(opportunity, 6)::DECIMAL(38, 6) AS opportunity_usd,
        self_now_usd + self_own_carried_usd AS self_usd,
        cross_now_usd + cross_carried_usd AS cross_usd
    FROM exact
),
split AS (
    SELECT
        *,
        fees_usd + spread_usd AS fees_spread_usd,
        total_usd - delay_usd - opportunity_usd - fees_usd - spread_usd - self_usd AS cross_realized_usd
    FROM money
)
SELECT
    order_id,
    basket_id,
    symbol,
    sector,
    side,
    decision_ts,
    parent_qty::DOUBLE AS parent_qty,
    filled_qty::DOUBLE AS filled_qty,
    n_fills,
    notional_usd,
    filled_usd,
    total_usd,
    self_usd,
    cross_realized_usd,
    delay_usd,
    fees_spread_usd,
    opportunity_usd,
    fees_usd,
    spread_usd,
    cross_usd,
    self_now_usd,
    self_own_carried_usd,
    cross_now_usd,
    cross_carried_usd,
    peers_usd,
    cross_realized_usd - cross_usd - peers_usd AS residual_usd,
    1e4 * total_usd / nullif(notional_usd, 0) AS total_bps,
    1e4 * self_usd / nullif(notional_usd, 0) AS self_bps,
    1e4 * cross_realized_usd / nullif(notional_usd, 0) AS cross_realized_bps,
    1e4 * delay_usd / nullif(notional_usd, 0) AS delay_bps,
    1e4 * fees_spread_usd / nullif(notional_usd, 0) AS fees_spread_bps,
    1e4 * opportunity_usd / nullif(notional_usd, 0) AS opportunity_bps,
    1e4 * cross_usd / nullif(notional_usd, 0) AS cross_bps,
    1e4 * (cross_realized_usd - cross_usd - peers_usd) / nullif(notional_usd, 0) AS residual_bps,
    1e4 * (self_usd + cross_realized_usd + fees_spread_usd) / nullif(filled_usd, 0) AS slippage_bps,
    fills_without_mid,
    if(n_fills > 0, arrival_from, NULL) AS arrival_from,
    if(unfilled_qty > 0, close_from, NULL) AS close_from,
    priced_by,
    coalesce(split.release_id, release_then) AS release_id,
    coalesce(split.in_sample, in_sample_then) AS in_sample,
    coalesce(split.release_status, status_then) AS release_status
FROM split
LEFT JOIN decided USING (order_id)
LEFT JOIN instruments USING (symbol)
ORDER BY order_id
