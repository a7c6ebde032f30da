-- grain: a print that an earlier file of the date holds, too
-- reads: coinciding (prints that share name and time)
-- gives: file, row
SELECT file, row
FROM coinciding
QUALIFY min(file) OVER (
    PARTITION BY symbol, ts, px, qty, aggressor_side, trade_id, condition
) < file
