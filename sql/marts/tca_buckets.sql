-- grain: bucket of the date (buckets of the session, and any other in which the desk traded)
-- reads: regimes (features, one date), tca_fills
-- gives: executed slippage against the mid at the bucket's start and what it is made of, positive = worse [USD,
--        exact micro-dollars]: slippage_usd = spread_usd + self_usd + carried_usd + peers_usd + cross_realized_usd, where
--        carried_usd is how what lay in the price faded since the start and peers_usd what the release says others'
--        flow moved since; cross_realized_usd = cross_usd + residual_usd. Orphan fills are in: they traded, whoever ordered them.
WITH labels AS (
    SELECT ts, regime FROM regimes
),
executed AS (
    SELECT
        ts,
        count(*) AS n_fills,
        count(DISTINCT symbol) AS n_names,
        sum(notional_usd) AS gross,
        sum(start_drift_usd + spread_usd) AS slippage,
        sum(spread_usd) AS spread,
        sum(self_usd) AS self,
        sum(cross_usd) AS predicted,
        sum(bucket_carried_usd) AS carried,
        sum(bucket_peers_usd) AS peers,
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
        round(coalesce(gross, 0), 6)::DECIMAL(38, 6) AS gross_usd,
        round(coalesce(slippage, 0), 6)::DECIMAL(38, 6) AS slippage_usd,
        round(coalesce(spread, 0), 6)::DECIMAL(38, 6) AS spread_usd,
        round(coalesce(self, 0), 6)::DECIMAL(38, 6) AS self_usd,
        round(coalesce(carried, 0), 6)::DECIMAL(38, 6) AS carried_usd,
        round(coalesce(peers, 0), 6)::DECIMAL(38, 6) AS peers_usd,
        round(coalesce(predicted, 0), 6)::DECIMAL(38, 6) AS cross_usd
    FROM labels
    FULL JOIN executed USING (ts)
),
split AS (
    SELECT *, slippage_usd - spread_usd - self_usd - carried_usd - peers_usd AS cross_realized_usd FROM money
)
SELECT
    ts,
    regime,
    n_fills,
    n_names,
    gross_usd,
    slippage_usd,
    spread_usd,
    self_usd,
    carried_usd,
    peers_usd,
    cross_realized_usd,
    cross_usd,
    cross_realized_usd - cross_usd AS residual_usd,
    fills_without_start,
    priced_by
FROM split
ORDER BY ts
