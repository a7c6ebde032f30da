-- grain: one of the first $most open rows of each rule on a date
-- reads: history (see history.sql)
-- params: $on_date, $most [rows a rule]
-- gives: the row as it was told, by table, rule, file and row
SELECT "table", rule, severity, key, symbol, venue, "column", "value", file, row, first_seen
FROM history
WHERE status = 'open' AND date = $on_date
QUALIFY row_number() OVER (PARTITION BY "table", rule ORDER BY file, row) <= $most
ORDER BY "table", rule, file, row
