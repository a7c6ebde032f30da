-- grain: a fill at most $max_after_end_s s after its order's end
-- reads: child_fills, orders
-- gives: file, row
SELECT fills.file, fills.row
FROM child_fills AS fills
INNER JOIN orders USING (order_id)
WHERE fills.fill_ts > orders.end_ts
    AND fills.fill_ts <= orders.end_ts + to_seconds($max_after_end_s)
