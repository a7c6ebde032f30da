-- grain: a fill further than $max_fill_distance (a fraction) from the prevailing mid
-- reads: priced
-- gives: file, row
SELECT file, row
FROM priced
WHERE table_name = 'child_fills'
    AND px > 0
    AND isfinite(px)
    AND abs(px - mid_px) > $max_fill_distance * mid_px
