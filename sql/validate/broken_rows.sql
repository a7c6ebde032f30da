-- grain: a landed row of the current day and a rule it is known to break so far
-- reads: violations
-- gives: table_name, file, row, rule_id
CREATE OR REPLACE TABLE broken_rows AS
SELECT table_name, file, row, rule_id
FROM violations
WHERE severity = 'quarantine'
