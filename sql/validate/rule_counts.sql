-- grain: a rule broken in $table_name on the current day
-- reads: violations
-- gives: rule_id, n_rows [rows]
SELECT rule_id, count(*) AS n_rows
FROM violations
WHERE table_name = $table_name
GROUP BY rule_id
ORDER BY rule_id
