-- grain: a fill whose price is no multiple of half a tick (a midpoint is one)
-- reads: child_fills, instruments
-- gives: file, row
-- Within $multiple_tolerance of one: floats have no 0.1.
WITH units AS (
    SELECT DISTINCT ON (symbol) symbol, tick_size / 2 AS unit
    FROM instruments
    WHERE isfinite(tick_size / 2) AND tick_size / 2 > 0
    ORDER BY symbol, file, row
)

SELECT rows.file, rows.row
FROM child_fills AS rows
INNER JOIN units USING (symbol)
WHERE isfinite(fill_px)
    AND abs(fill_px / unit - round(fill_px / unit)) > $multiple_tolerance
