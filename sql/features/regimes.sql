-- grain: bucket of the whole market, on the date $date
-- reads: buckets (feature partitions of the trailing dates up to $date)
-- params: $calm_quantile, $shape_dates [dates], $day_quantile, $day_prior [log units], $prior_dates [dates],
--         $day_limit [sd between days], $noise_floor, $noise_prior [log units], $enter, $leave [sd], $date
-- gives: stress [sd of the noise within a calm day], regime ('normal' | 'stressed')
-- The market's volatility, spread and thinness (inverse depth) are the median symbol's, each symbol against its own
-- level on earlier dates. Their usual shape over the session, learned from earlier dates and shrunk to flat by
-- $shape_dates, is taken off. The calm of a date is the $day_quantile of what was seen of it, but at most $day_limit
-- sd above the median calm of the earlier dates: a day is not stressed for lying as high as days do. That sd between
-- days starts at $day_prior, which counts as $prior_dates dates. Stress is the length of what lies above the date's
-- calm, each component in units of its noise within a date: never below $noise_floor, wider by $noise_prior while the
-- shape is little known. Hysteresis: stressed from $enter up, normal from $leave down, in between the last label of
-- the session stands. Earlier dates are read whole, $date only up to and including the labelled bucket. A missing
-- component says nothing.
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
-- Only the lower half of a date tells its noise, stressed buckets lie above: 0.4 and 0.1 of a normal are 1.03 sd
-- apart. Dates that were stressed nearly throughout have no say in a median, nor in a median deviation (1.48 to an sd).
days AS (
    SELECT
        component,
        date,
        quantile_cont(level, $day_quantile) AS calm,
        (quantile_cont(level, 0.4) - quantile_cont(level, 0.1)) / 1.03 AS noise
    FROM flat
    WHERE date < $date
    GROUP BY component, date
),
usual AS (
    SELECT
        component,
        count(*) AS dates,
        median(calm) AS calm,
        median(noise) AS noise,
        (dates * (1.48 * mad(calm)) ** 2 + $prior_dates * $day_prior ** 2) / (dates + $prior_dates)
        * (1 + 1 / dates) AS day_variance
    FROM days
    GROUP BY component
),
today AS (
    SELECT
        ts,
        component,
        level,
        quantile_cont(level, $day_quantile) OVER seen AS calm,
        (quantile_cont(level, 0.4) OVER seen - quantile_cont(level, 0.1) OVER seen) / 1.03 AS noise
    FROM flat
    WHERE date = $date
    WINDOW seen AS (PARTITION BY component ORDER BY ts ROWS UNBOUNDED PRECEDING)
),
-- Without an earlier date nothing limits the calm: least() passes over nulls.
excess AS (
    SELECT
        today.ts,
        today.component,
        greatest(0, today.level - least(today.calm, usual.calm + $day_limit * sqrt(usual.day_variance)))
        / sqrt(
            coalesce(usual.noise, today.noise) ** 2
            + $noise_floor ** 2
            + ($noise_prior / (1 + coalesce(usual.dates, 0))) ** 2
        ) AS sds
    FROM today
    LEFT JOIN usual USING (component)
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
