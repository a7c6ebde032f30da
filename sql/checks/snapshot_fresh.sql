-- grain: a fill without a sound snapshot of its symbol in the $max_snapshot_age_s seconds before it
-- reads: priced
-- gives: file, row
SELECT file, row
FROM priced
WHERE table_name = 'child_fills' AND (age_s IS NULL OR age_s > $max_snapshot_age_s)
