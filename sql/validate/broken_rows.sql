-- grain: a landed row of the current day and a single-table rule it breaks
-- reads: violations, before any rule across tables has added to it
-- gives: table_name, file, row, rule_id
CREATE OR REPLACE TABLE broken_rows AS
SELECT table_name, file, row, rule_id
FROM violations
