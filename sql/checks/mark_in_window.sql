-- grain: a mark whose time its order has no such mark at
-- reads: benchmark_marks, orders
-- gives: file, row
-- Clocks may differ by $max_mark_skew_s. An order whose window is upside down judges nobody.
SELECT marks.file, marks.row
FROM benchmark_marks AS marks
LEFT JOIN orders USING (order_id)
WHERE NOT isfinite(marks.ts)
    OR marks.ts < orders.decision_ts - to_seconds($max_mark_skew_s)
    OR (mark = 'DECISION' AND marks.ts > orders.decision_ts + to_seconds($max_mark_skew_s))
    OR (mark = 'ARRIVAL' AND marks.ts > orders.end_ts + to_seconds($max_mark_skew_s))
