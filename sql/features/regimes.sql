-- grain: bucket of the whole market, on the date $date
-- reads: buckets (feature partitions of the trailing dates up to $date)
-- params: $calm_quantile, $shape_dates [dates], $noise_floor, $noise_prior [log units], $enter, $leave [sd of calm],
--         $date
-- gives: stress [sd of calm], regime ('normal' | 'stressed')
-- The market's volatility, spread and thinness (inverse depth) are the median symbol's, each symbol against its own
-- level on earlier dates. Their usual shape over the session, learned from earlier dates and shrunk to flat by
-- $shape_dates, is taken off. Stress is the length of what then lies above calm, each component in units of its own
-- calm sd: never below $noise_floor, wider by $noise_prior while the shape is little known. Hysteresis: stressed
-- from $enter up, normal from $leave down, in between the last label of the session stands. Earlier dates are read
-- whole, $date only up to and including the labelled bucket. A missing component says nothing.
WITH levels AS (
    SELECT
        date,
        ts,
        symbol,
        ts - min(ts) OVER (PARTITION BY date) AS since_open,
        ln(CASE WHEN vol_bps > 0 THEN vol_bps END) AS vol,
        ln(CASE WHEN spread_bps > 0 THEN spread_bps END) AS spread,
        -ln(CASE WHEN depth_usd > 0 THEN depth_usd END) AS thinness
    FROM buckets
    WHERE vol_bps > 0 OR spread_bps > 0 OR depth_usd > 0
),
earlier AS (
    SELECT symbol, median(vol) AS vol, median(spread) AS spread, median(thinness) AS thinness
    FROM levels
    WHERE date < $date
    GROUP BY symbol
),
-- A symbol without earlier dates is compared with the first level seen of it.
own AS (
    SELECT
        date,
        ts,
        since_open,
        levels.vol - coalesce(earlier.vol, first_value(levels.vol IGNORE NULLS) OVER seen) AS vol,
        levels.spread - coalesce(earlier.spread, first_value(levels.spread IGNORE NULLS) OVER seen) AS spread,
        levels.thinness - coalesce(earlier.thinness, first_value(levels.thinness IGNORE NULLS) OVER seen) AS thinness
    FROM levels
    LEFT JOIN earlier USING (symbol)
    WINDOW seen AS (PARTITION BY symbol ORDER BY ts ROWS UNBOUNDED PRECEDING)
),
market AS (
    SELECT date, ts, since_open, median(vol) AS vol, median(spread) AS spread, median(thinness) AS thinness
    FROM own
    GROUP BY date, ts, since_open
),
components AS (
    UNPIVOT market ON vol, spread, thinness INTO NAME component VALUE level
),
sessions AS (
    SELECT
        component,
        since_open,
        date,
        level - quantile_cont(level, $calm_quantile) OVER (PARTITION BY component, date) AS shape
    FROM components
    WHERE date < $date
),
known AS (
    SELECT count(DISTINCT date) AS dates FROM sessions
),
-- Neighbours within 10 minutes have a say, so that few dates do not make a ragged shape.
shapes AS (
    SELECT
        slots.component,
        slots.since_open,
        quantile_cont(sessions.shape, $calm_quantile) * any_value(dates) / (any_value(dates) + $shape_dates) AS shape
    FROM (SELECT DISTINCT component, since_open FROM sessions) AS slots
    JOIN sessions
        ON slots.component = sessions.component
        AND sessions.since_open BETWEEN slots.since_open - INTERVAL 10 MINUTES
            AND slots.since_open + INTERVAL 10 MINUTES
    CROSS JOIN known
    GROUP BY slots.component, slots.since_open
),
flat AS (
    SELECT date, ts, component, level - coalesce(shape, 0) AS level
    FROM components
    LEFT JOIN shapes USING (component, since_open)
),
calm AS (
    SELECT
        date,
        ts,
        component,
        level,
        quantile_cont(level, $calm_quantile) OVER seen AS calm,
        quantile_cont(level, 0.1) OVER seen AS low
    FROM flat
    WINDOW seen AS (PARTITION BY component ORDER BY ts ROWS UNBOUNDED PRECEDING)
),
-- Only what lies below calm tells its sd, stressed buckets lie above: 0.4 and 0.1 of a normal are 1.03 sd apart.
excess AS (
    SELECT
        ts,
        component,
        greatest(level - calm, 0)
        / sqrt(((calm - low) / 1.03) ** 2 + $noise_floor ** 2 + $noise_prior ** 2 / (1 + dates)) AS sds
    FROM calm
    CROSS JOIN known
    WHERE date = $date
),
crossings AS (
    SELECT
        ts,
        sqrt(sum(sds ** 2 ORDER BY component)) AS stress,
        CASE WHEN stress >= $enter THEN 'stressed' WHEN stress <= $leave THEN 'normal' END AS crossing
    FROM excess
    GROUP BY ts
)
SELECT
    ts,
    coalesce(last_value(crossing IGNORE NULLS) OVER (ORDER BY ts), 'normal') AS regime,
    stress
FROM crossings
ORDER BY ts
