-- grain: a landed row and a rule it breaks, over tables and dates
-- reads: nothing; filled partition by partition
-- gives: table, date, file, row, key, rule_id, severity
CREATE TABLE all_violations (
    "table" VARCHAR,
    date VARCHAR,
    file VARCHAR,
    row BIGINT,
    key VARCHAR,
    rule_id VARCHAR,
    severity VARCHAR
)
