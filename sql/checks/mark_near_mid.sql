-- grain: a mark further than $max_mark_distance (a fraction) from the mid at its time
-- reads: priced
-- gives: file, row
-- A mean over the order's life may lie twice as far. Before the day's first book the night lies
-- between: $max_overnight_distance from that book.
SELECT file, row
FROM priced
WHERE table_name = 'benchmark_marks'
    AND px > 0
    AND isfinite(px)
    AND (
        abs(px - mid_px) > $max_mark_distance * if(mark = 'INTERVAL_MID', 2, 1) * mid_px
        OR (mid_px IS NULL AND abs(px - opening_mid_px) > $max_overnight_distance * opening_mid_px)
    )
