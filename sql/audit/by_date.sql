-- grain: a date on which a rule was ever broken
-- reads: history (see history.sql)
-- params: $rule, $of_table (a table; empty for all)
-- gives: rows open, released and superseded [rows]; first and last moment at which the date's rows were found
SELECT
    date,
    count(*) FILTER (WHERE status = 'open') AS open,
    count(*) FILTER (WHERE status = 'released') AS released,
    count(*) FILTER (WHERE status = 'superseded') AS superseded,
    min(first_seen) AS first_seen,
    max(last_seen) AS last_seen
FROM history
WHERE rule = $rule AND $of_table IN ('', "table")
GROUP BY date
ORDER BY date
