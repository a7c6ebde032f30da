-- grain: a parent whose quantity is no multiple of the lot
-- reads: parent_orders, instruments
-- gives: file, row
-- Within $multiple_tolerance of one: floats have no 0.1.
WITH units AS (
    SELECT DISTINCT ON (symbol) symbol, lot_size AS unit
    FROM instruments
    WHERE isfinite(lot_size) AND lot_size > 0
    ORDER BY symbol, file, row
)

SELECT rows.file, rows.row
FROM parent_orders AS rows
INNER JOIN units USING (symbol)
WHERE isfinite(parent_qty)
    AND abs(parent_qty / unit - round(parent_qty / unit)) > $multiple_tolerance
