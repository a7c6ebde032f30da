-- grain: bucket of the date (buckets of the session, and any other in which the desk traded)
-- reads: regimes (features, one date), tca_fills
-- gives: executed slippage against the mid at the bucket's start and what it is made of, positive = worse [USD,
--        exact micro-dollars]: slippage_usd = spread_usd + self_usd + carried_usd + peers_usd + cross_usd + market_usd +
--        residual_usd, where carried_usd is how what lay in the price faded since the start, peers_usd and market_usd
--        what others' flow and the purified market moved since; cross_realized_usd = cross_usd + market_usd +
--        residual_usd. Orphan fills are in: they traded, whoever ordered them.
WITH labels AS (
    SELECT ts, regime FROM regimes
),
executed AS (
    SELECT
        ts,
        count(*) AS n_fills,
        count(DISTINCT symbol) AS n_names,
        sum(notional_usd) AS gross_usd,
        sum(start_drift_usd + spread_usd) AS slippage_usd,
        sum(spread_usd) AS spread_usd,
        sum(self_now_usd) AS self_usd,
        sum(cross_now_usd) AS cross_usd,
        sum(bucket_carried_usd) AS carried_usd,
        sum(bucket_peers_usd) AS peers_usd,
        sum(bucket_market_usd) AS market_usd,
        count(*) FILTER (WHERE without_start) AS fills_without_start,
        string_agg(DISTINCT priced_by, '; ' ORDER BY priced_by) AS priced_by
    FROM tca_fills
    GROUP BY ts
),
money AS (
    SELECT
        ts,
        coalesce(regime, 'unknown') AS regime,
        coalesce(n_fills, 0) AS n_fills,
        coalesce(n_names, 0) AS n_names,
        coalesce(fills_without_start, 0) AS fills_without_start,
        priced_by,
        coalesce(COLUMNS('.*_usd'), 0)
    FROM labels
    FULL JOIN executed USING (ts)
),
split AS (
    SELECT *, slippage_usd - spread_usd - self_usd - carried_usd - peers_usd - cross_usd - market_usd AS residual_usd
    FROM money
)
SELECT *, cross_usd + market_usd + residual_usd AS cross_realized_usd FROM split ORDER BY ts
