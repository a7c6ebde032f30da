-- grain: an execution of the date: accepted, or refused for what makes it no less executed, of a booked order
-- reads: accepted_fills, refused_fills (partitions of several dates), booked_parents
-- params: $date, $fill_rules (what an executed fill may have broken)
-- gives: the fill as landed, and the rules it broke
WITH refused AS (
    SELECT
        record ->> '$.fill_id' AS fill_id,
        record ->> '$.order_id' AS order_id,
        record ->> '$.symbol' AS symbol,
        record ->> '$.side' AS side,
        try_cast(record ->> '$.fill_ts' AS TIMESTAMPTZ) AS fill_ts,
        try_cast(record ->> '$.fill_px' AS DOUBLE) AS fill_px,
        try_cast(record ->> '$.fill_qty' AS DOUBLE) AS fill_qty,
        record ->> '$.venue' AS venue,
        record ->> '$.liquidity' AS liquidity,
        try_cast(record ->> '$.fee' AS DOUBLE) AS fee,
        rules
    FROM refused_fills
    WHERE date = $date::DATE AND list_has_all($fill_rules, rules)
)
SELECT
    fill_id,
    order_id,
    symbol,
    side,
    fill_ts,
    fill_px,
    fill_qty,
    venue,
    liquidity,
    fee,
    []::VARCHAR[] AS rules
FROM accepted_fills
WHERE date = $date::DATE
UNION ALL
SELECT refused.* FROM refused
SEMI JOIN booked_parents USING (order_id, symbol, side)
