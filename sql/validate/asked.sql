-- grain: a row of the current day whose price is held against the mid at its time
-- reads: child_fills, parent_orders, benchmark_marks, orders
-- gives: table_name, file, row, mark, symbol, ts, px
SELECT 'child_fills' AS table_name, file, row, NULL::VARCHAR AS mark, symbol, fill_ts AS ts, fill_px AS px
FROM child_fills
WHERE symbol IS NOT NULL AND isfinite(fill_ts)
UNION ALL
SELECT 'parent_orders', file, row, NULL, symbol, decision_ts, decision_px
FROM parent_orders
WHERE symbol IS NOT NULL AND isfinite(decision_ts)
UNION ALL
SELECT 'benchmark_marks', marks.file, marks.row, mark, orders.symbol, marks.ts, px
FROM benchmark_marks AS marks
INNER JOIN orders USING (order_id)
WHERE orders.symbol IS NOT NULL AND isfinite(marks.ts)
