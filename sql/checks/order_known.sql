-- grain: a fill whose order is not landed, on its date or the trading dates before it
-- reads: child_fills, orders
-- gives: file, row
SELECT fills.file, fills.row
FROM child_fills AS fills
ANTI JOIN orders USING (order_id)
WHERE fills.order_id IS NOT NULL
