-- grain: a parent order alive on the date: accepted, or refused for what TCA can do without; landed then or on a date before
-- reads: accepted_parents, refused_parents, accepted_fills, refused_fills (partitions of several dates), buckets (features of the date)
-- params: $date, $parent_rules (what a parent may have broken), $bucket_s [s], $open_beyond_h [h]
-- gives: the order as landed, date of landing, rules broken, is_open: it lasts $open_beyond_h beyond the session's end,
--        is_over: it ended before the date and is here for a late fill
WITH session AS (
    SELECT min(ts) AS session_from, max(ts) + to_seconds($bucket_s) AS session_to FROM buckets
),
refused AS (
    SELECT
        date,
        record ->> '$.order_id' AS order_id,
        record ->> '$.basket_id' AS basket_id,
        record ->> '$.symbol' AS symbol,
        record ->> '$.side' AS side,
        try_cast(record ->> '$.parent_qty' AS DOUBLE) AS parent_qty,
        try_cast(record ->> '$.decision_ts' AS TIMESTAMPTZ) AS decision_ts,
        try_cast(record ->> '$.decision_px' AS DOUBLE) AS decision_px,
        try_cast(record ->> '$.start_ts' AS TIMESTAMPTZ) AS start_ts,
        try_cast(record ->> '$.end_ts' AS TIMESTAMPTZ) AS end_ts,
        try_cast(record ->> '$.alpha_bps' AS DOUBLE) AS alpha_bps,
        rules
    FROM refused_parents
    WHERE list_has_all($parent_rules, rules)
),
every AS (
    SELECT
        date,
        order_id,
        basket_id,
        symbol,
        side,
        parent_qty,
        decision_ts,
        decision_px,
        start_ts,
        end_ts,
        alpha_bps,
        []::VARCHAR[] AS rules
    FROM accepted_parents
    UNION ALL
    FROM refused
),
named AS (
    SELECT order_id FROM accepted_fills WHERE date = $date::DATE
    UNION
    SELECT record ->> '$.order_id' FROM refused_fills WHERE date = $date::DATE
)
SELECT
    every.*,
    coalesce(end_ts > session_to + to_seconds(3600 * $open_beyond_h), false) AS is_open,
    date < $date::DATE AND coalesce(end_ts <= session_from, false) AS is_over
FROM every, session
WHERE date = $date::DATE OR end_ts > session_from OR order_id IN (FROM named)
QUALIFY row_number() OVER (PARTITION BY order_id ORDER BY date) = 1
ORDER BY order_id
