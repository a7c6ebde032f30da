-- grain: a booked order landed on a date before, that was filled before
-- reads: accepted_fills, refused_fills (partitions of several dates), booked_parents
-- params: $date, $fill_rules (what an executed fill may have broken)
-- gives: filled_before_qty [shares, exact], fill_dates: on how many dates
WITH carried AS (
    SELECT order_id, symbol, side FROM booked_parents WHERE date < $date::DATE
),
every AS (
    SELECT date, order_id, symbol, side, fill_qty FROM accepted_fills
    UNION ALL
    SELECT
        date,
        record ->> '$.order_id',
        record ->> '$.symbol',
        record ->> '$.side',
        try_cast(record ->> '$.fill_qty' AS DOUBLE)
    FROM refused_fills
    WHERE list_has_all($fill_rules, rules)
)
SELECT order_id, sum(fill_qty::DECIMAL(24, 8)) AS filled_before_qty, count(DISTINCT date) AS fill_dates
FROM every
SEMI JOIN carried USING (order_id, symbol, side)
WHERE date < $date::DATE
GROUP BY order_id
