-- grain: a mark whose order is not landed, on its date or the trading dates before it
-- reads: benchmark_marks, orders
-- gives: file, row
SELECT marks.file, marks.row
FROM benchmark_marks AS marks
ANTI JOIN orders USING (order_id)
WHERE marks.order_id IS NOT NULL
