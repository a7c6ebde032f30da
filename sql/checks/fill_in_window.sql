-- grain: a fill before its order's start, or more than $max_after_end_s s after its end
-- reads: child_fills, orders
-- gives: file, row
-- An order whose window is itself upside down judges nobody.
SELECT fills.file, fills.row
FROM child_fills AS fills
INNER JOIN orders USING (order_id)
WHERE fills.fill_ts < orders.start_ts
    OR fills.fill_ts > orders.end_ts + to_seconds($max_after_end_s)
