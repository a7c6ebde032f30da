-- grain: bucket of the whole market, on the date $date
-- reads: buckets (feature partitions of the trailing dates up to $date)
-- params: $date, $calm_quantile, $enter, $leave [log units]
-- gives: stress [log ratio to calm], regime ('normal' | 'stressed')
-- Per symbol, volatility and illiquidity (spread, inverse depth) are compared with their own calm level: a low
-- quantile of all buckets seen so far. The market's stress is the median symbol's. Hysteresis: stressed from
-- $enter up, normal from $leave down, in between the last label of the session stands. Only buckets up to and
-- including the labelled one are read.
WITH levels AS (
    SELECT
        date,
        ts,
        symbol,
        ln(vol_bps) AS log_vol,
        ln(spread_bps) AS log_spread,
        -ln(depth_usd) AS log_thinness
    FROM buckets
    WHERE vol_bps > 0 AND spread_bps > 0 AND depth_usd > 0
),
excess AS (
    SELECT
        date,
        ts,
        log_vol - quantile_cont(log_vol, $calm_quantile) OVER seen AS vol,
        log_spread - quantile_cont(log_spread, $calm_quantile) OVER seen AS spread,
        log_thinness - quantile_cont(log_thinness, $calm_quantile) OVER seen AS thinness
    FROM levels
    WINDOW seen AS (PARTITION BY symbol ORDER BY ts ROWS UNBOUNDED PRECEDING)
),
market AS (
    SELECT
        ts,
        median(vol) + (median(spread) + median(thinness)) / 2 AS stress
    FROM excess
    WHERE date = $date
    GROUP BY ts
),
crossings AS (
    SELECT
        ts,
        stress,
        CASE WHEN stress >= $enter THEN 'stressed' WHEN stress <= $leave THEN 'normal' END AS crossing
    FROM market
)
SELECT
    ts,
    coalesce(last_value(crossing IGNORE NULLS) OVER (ORDER BY ts), 'normal') AS regime,
    stress
FROM crossings
ORDER BY ts
