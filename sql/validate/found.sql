-- grain: a landed row and a rule it breaks
-- reads: nothing; every rule adds its rows
-- gives: table_name, date, file, row, rule_id, severity
CREATE TABLE found (
    table_name VARCHAR,
    date DATE,
    file VARCHAR,
    row BIGINT,
    rule_id VARCHAR,
    severity VARCHAR
)
