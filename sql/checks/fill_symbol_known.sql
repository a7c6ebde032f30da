-- grain: a fill in a symbol without an instruments row
-- reads: child_fills, instruments
-- gives: file, row
WITH fills AS (
    SELECT file, row, symbol FROM child_fills
),

known AS (
    SELECT symbol FROM instruments
)

SELECT fills.file, fills.row
FROM fills
ANTI JOIN known USING (symbol)
WHERE fills.symbol IS NOT NULL
