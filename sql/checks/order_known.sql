-- grain: a fill whose order is not landed
-- reads: child_fills, parent_orders
-- gives: file, row
WITH fills AS (
    SELECT file, row, order_id FROM child_fills
),

parents AS (
    SELECT order_id FROM parent_orders
)

SELECT fills.file, fills.row
FROM fills
ANTI JOIN parents USING (order_id)
WHERE fills.order_id IS NOT NULL
