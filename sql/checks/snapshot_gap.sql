-- grain: a symbol's first snapshot after more than $max_snapshot_age_s s of silence, or its last before such to the close
-- reads: market_snapshots, broken_rows
-- gives: file, row
-- The session is read off the data: time passes only while some symbol ticks, so a silence of the
-- whole market (a break, the night) counts for nobody; a symbol late at the open is silent too.
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

ticks AS (
    SELECT ts, coalesce(epoch_us(ts) - epoch_us(lag(ts) OVER (ORDER BY ts)), 0) AS silence_us
    FROM (SELECT DISTINCT ts FROM snapshots)
),

session AS (
    SELECT
        ts,
        sum(CASE WHEN silence_us > $max_snapshot_age_s * 1000000 THEN 0 ELSE silence_us END)
            OVER (ORDER BY ts ROWS UNBOUNDED PRECEDING) AS elapsed_us
    FROM ticks
),

clocked AS (
    SELECT
        snapshots.file,
        snapshots.row,
        session.elapsed_us,
        max(session.elapsed_us) OVER () AS close_us,
        lead(session.elapsed_us) OVER (
            PARTITION BY snapshots.symbol ORDER BY snapshots.ts, snapshots.file, snapshots.row
        ) IS NULL AS is_last,
        coalesce(
            lag(session.elapsed_us) OVER (
                PARTITION BY snapshots.symbol ORDER BY snapshots.ts, snapshots.file, snapshots.row
            ),
            0
        ) AS previous_us
    FROM snapshots
    INNER JOIN session USING (ts)
)

SELECT file, row
FROM clocked
WHERE
    elapsed_us - previous_us > $max_snapshot_age_s * 1000000
    OR (is_last AND close_us - elapsed_us > $max_snapshot_age_s * 1000000)
