-- grain: a rule broken on the current day
-- reads: found
-- gives: table_name, rule_id, n_rows [rows]
SELECT table_name, rule_id, count(*) AS n_rows
FROM main.found
WHERE date = getvariable('day')
GROUP BY table_name, rule_id
ORDER BY table_name, rule_id
