-- grain: a fill whose symbol or side is not its order's
-- reads: child_fills, parent_orders, broken_rows
-- gives: file, row
-- An order whose own symbol or side is invalid contradicts nobody; of orders with one id the first counts.
WITH fills AS (
    SELECT file, row, order_id, symbol, side FROM child_fills
),

unreliable AS (
    SELECT file, row
    FROM broken_rows
    WHERE table_name = 'parent_orders' AND rule_id IN ('symbol.pattern', 'side.values')
),

first_parents AS (
    SELECT file, row, order_id, symbol, side
    FROM parent_orders
    QUALIFY row_number() OVER (PARTITION BY order_id ORDER BY file, row) = 1
),

parents AS (
    SELECT * FROM first_parents ANTI JOIN unreliable USING (file, row)
)

SELECT fills.file, fills.row
FROM fills
INNER JOIN parents USING (order_id)
WHERE fills.symbol <> parents.symbol OR fills.side <> parents.side
