-- grain: a fill further than $max_fill_distance (a fraction) from the prevailing mid
-- reads: child_fills, market_snapshots
-- gives: file, row
-- The prevailing mid is that of the last sound snapshot (finite, uncrossed) at or before the fill.
WITH fills AS (
    SELECT file, row, symbol, fill_ts, fill_px
    FROM child_fills
    WHERE isfinite(fill_px) AND fill_px > 0
),

snapshots AS (
    SELECT symbol, ts, (bid_px + ask_px) / 2 AS mid_px
    FROM market_snapshots
    WHERE isfinite(bid_px) AND isfinite(ask_px) AND 0 < bid_px AND bid_px < ask_px
)

SELECT fills.file, fills.row
FROM fills
ASOF JOIN snapshots
    ON fills.symbol = snapshots.symbol AND fills.fill_ts >= snapshots.ts
WHERE abs(fills.fill_px - snapshots.mid_px) > $max_fill_distance * snapshots.mid_px
