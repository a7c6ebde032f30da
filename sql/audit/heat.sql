-- grain: a date, table and rule that rows break now
-- reads: history (see history.sql)
-- gives: n_rows [rows], n_cascades [rows], those refused for another row's fault
SELECT
    date,
    "table",
    rule,
    count(*) AS n_rows,
    count(*) FILTER (WHERE coalesce(cascade, false)) AS n_cascades
FROM history
WHERE status = 'open'
GROUP BY date, "table", rule
ORDER BY "table", rule, date
