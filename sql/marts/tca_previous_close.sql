-- grain: a name with a mid on the date before
-- reads: buckets_before (features of that date)
-- gives: close_px: the mid at the end of its last bucket
SELECT symbol, arg_max(mid_end, ts) AS close_px
FROM buckets_before
WHERE mid_end IS NOT NULL
GROUP BY symbol
