-- grain: a fill whose quantity is no multiple of the lot
-- reads: child_fills, instruments
-- gives: file, row
-- Within $multiple_tolerance of one: floats have no 0.1.
WITH units AS (
    SELECT DISTINCT ON (symbol) symbol, lot_size AS unit
    FROM instruments
    WHERE isfinite(lot_size) AND lot_size > 0
    ORDER BY symbol, file, row
)

SELECT rows.file, rows.row
FROM child_fills AS rows
INNER JOIN units USING (symbol)
WHERE isfinite(fill_qty)
    AND abs(fill_qty / unit - round(fill_qty / unit)) > $multiple_tolerance
