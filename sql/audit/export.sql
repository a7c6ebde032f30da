-- grain: a row that broke a rule at any time
-- reads: history (see history.sql)
-- gives: its columns under the names of the other exports, moments in ISO 8601
SELECT
    "table",
    date,
    file,
    row,
    key,
    rule AS rule_id,
    severity,
    cascade,
    symbol,
    venue,
    "column",
    "value",
    status,
    strftime(first_seen, '%Y-%m-%dT%H:%M:%SZ') AS first_seen,
    first_run,
    strftime(last_seen, '%Y-%m-%dT%H:%M:%SZ') AS last_seen,
    last_run,
    ended_by
FROM history
ORDER BY "table", date, file, row, rule_id
