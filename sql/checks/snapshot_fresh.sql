-- grain: a fill without a sound snapshot of its symbol in the $max_snapshot_age_s seconds before it
-- reads: child_fills, market_snapshots
-- gives: file, row
-- Sound: finite and uncrossed. A fill without time or symbol is broken on its own.
WITH fills AS (
    SELECT file, row, symbol, fill_ts
    FROM child_fills
    WHERE symbol IS NOT NULL AND isfinite(fill_ts)
),

snapshots AS (
    SELECT symbol, ts
    FROM market_snapshots
    WHERE isfinite(ts) AND isfinite(bid_px) AND isfinite(ask_px) AND 0 < bid_px AND bid_px < ask_px
)

SELECT fills.file, fills.row
FROM fills
ASOF LEFT JOIN snapshots
    ON fills.symbol = snapshots.symbol AND fills.fill_ts >= snapshots.ts
WHERE snapshots.ts IS NULL
    OR fills.fill_ts - snapshots.ts > to_seconds($max_snapshot_age_s)
