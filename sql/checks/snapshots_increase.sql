-- grain: a snapshot not later than an earlier one of its symbol in its file
-- reads: market_snapshots, broken_rows
-- gives: file, row
-- Rows of another date do not push the clock forward, so one stray row does not condemn the rest.
WITH strays AS (
    SELECT file, row
    FROM broken_rows
    WHERE table_name = 'market_snapshots' AND rule_id = 'date_in_partition'
),

snapshots AS (
    SELECT file, row, symbol, ts
    FROM market_snapshots
    ANTI JOIN strays USING (file, row)
    WHERE symbol IS NOT NULL AND ts IS NOT NULL
),

clocked AS (
    SELECT
        file,
        row,
        ts,
        max(ts) OVER (
            PARTITION BY symbol, file ORDER BY row
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS latest_ts
    FROM snapshots
)

SELECT file, row
FROM clocked
WHERE ts <= latest_ts
