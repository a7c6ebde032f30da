-- grain: a parent in a symbol without an instruments row
-- reads: parent_orders, instruments
-- gives: file, row
WITH parents AS (
    SELECT file, row, symbol FROM parent_orders
),

known AS (
    SELECT symbol FROM instruments
)

SELECT parents.file, parents.row
FROM parents
ANTI JOIN known USING (symbol)
WHERE parents.symbol IS NOT NULL
