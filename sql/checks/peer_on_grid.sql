-- grain: a row of peer flow whose time is no bucket start of the date's grid
-- reads: peer_flow
-- gives: file, row
-- The grid's width and phase are the commonest ones, so a row that is off it moves no other.
WITH gaps AS (
    SELECT epoch_us(ts) - lag(epoch_us(ts)) OVER (PARTITION BY symbol ORDER BY ts) AS gap_us
    FROM peer_flow
    WHERE isfinite(ts)
),

grid AS (
    SELECT mode(gap_us) AS width_us FROM gaps WHERE gap_us > 0
),

phase AS (
    SELECT width_us, mode(epoch_us(ts) % width_us) AS phase_us
    FROM peer_flow
    CROSS JOIN grid
    WHERE isfinite(ts)
    GROUP BY width_us
)

SELECT file, row
FROM peer_flow
CROSS JOIN phase
WHERE isfinite(ts) AND epoch_us(ts) % width_us <> phase_us
