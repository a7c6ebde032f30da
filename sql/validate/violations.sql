-- grain: a landed row and a rule it breaks, of the connection's current day
-- reads: found
-- gives: table_name, file, row, rule_id, severity
CREATE VIEW violations AS
SELECT table_name, file, row, rule_id, severity
FROM found
WHERE date = getvariable('day')
