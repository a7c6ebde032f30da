-- grain: a table and rule whose broken rows differ between two judgements of dates
-- reads: broken_before, broken_after (date, table, rule, key, file, row)
-- gives: rows before and after, released (broken before, not after) and refused (after, not before)
WITH before_rows AS (
    SELECT DISTINCT date, "table", rule, key, file, row, 1 AS was FROM broken_before
),
after_rows AS (
    SELECT DISTINCT date, "table", rule, key, file, row, 1 AS is_now FROM broken_after
)
SELECT
    "table",
    rule,
    count(was) AS rows_before,
    count(is_now) AS rows_after,
    count(*) FILTER (WHERE is_now IS NULL) AS released,
    count(*) FILTER (WHERE was IS NULL) AS refused
FROM before_rows
FULL JOIN after_rows USING (date, "table", rule, key, file, row)
GROUP BY ALL
HAVING released + refused > 0
ORDER BY "table", rule
