-- grain: a parent whose decision price is further than $max_decision_distance (a fraction) from the mid at its time
-- reads: priced
-- gives: file, row
-- Before the day's first book the night lies between: $max_overnight_distance from that book.
SELECT file, row
FROM priced
WHERE table_name = 'parent_orders'
    AND px > 0
    AND isfinite(px)
    AND (
        abs(px - mid_px) > $max_decision_distance * mid_px
        OR (mid_px IS NULL AND abs(px - opening_mid_px) > $max_overnight_distance * opening_mid_px)
    )
