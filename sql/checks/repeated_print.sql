-- grain: a print that its file holds already
-- reads: coinciding (prints that share name and time)
-- gives: file, row
SELECT file, row
FROM coinciding
QUALIFY row_number() OVER (
    PARTITION BY file, symbol, ts, px, qty, aggressor_side, trade_id, condition ORDER BY row
) > 1
