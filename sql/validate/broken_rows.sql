-- grain: a landed row of the current day and a rule it is known to break so far
-- reads: found
-- gives: table_name, file, row, rule_id
CREATE VIEW broken_rows AS
SELECT table_name, file, row, rule_id
FROM found
WHERE date = getvariable('day') AND severity = 'quarantine'
