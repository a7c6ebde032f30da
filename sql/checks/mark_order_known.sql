-- grain: a mark whose order is not landed
-- reads: benchmark_marks, parent_orders
-- gives: file, row
WITH marks AS (
    SELECT file, row, order_id FROM benchmark_marks
),

parents AS (
    SELECT order_id FROM parent_orders
)

SELECT marks.file, marks.row
FROM marks
ANTI JOIN parents USING (order_id)
WHERE marks.order_id IS NOT NULL
