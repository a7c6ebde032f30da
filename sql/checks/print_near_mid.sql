-- grain: a print further than $max_print_distance (a fraction) from a mid of the last $max_snapshot_age_s seconds
-- reads: priced
-- gives: file, row
SELECT file, row
FROM priced
WHERE table_name = 'public_trades'
    AND px > 0
    AND age_s <= $max_snapshot_age_s
    AND abs(px - mid_px) > $max_print_distance * mid_px
