-- grain: a venue, symbol, table or file in which open rows break a rule
-- reads: history (see history.sql)
-- params: $rule $of_table, $on_date (a rule, table, date; empty for all)
-- gives: place (venue, symbol, table, file), name ('-' where a judge told none), n_rows [rows]
WITH chosen AS (
    SELECT *
    FROM history
    WHERE status = 'open'
        AND $rule IN ('', rule)
        AND $of_table IN ('', "table")
        AND $on_date IN ('', date)
),
places AS (
    SELECT 'venue' AS place, venue AS name FROM chosen
    UNION ALL
    SELECT 'symbol', symbol FROM chosen
    UNION ALL
    SELECT 'table', "table" FROM chosen
    UNION ALL
    SELECT 'file', file FROM chosen
)
SELECT place, coalesce(name, '-') AS name, count(*) AS n_rows
FROM places
GROUP BY ALL
ORDER BY place, n_rows DESC, name
