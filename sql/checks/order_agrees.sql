-- grain: a fill whose symbol or side is not its order's
-- reads: child_fills, orders
-- gives: file, row
-- Each attribute by itself: an order whose side is invalid says nothing of sides, but still of symbols.
SELECT fills.file, fills.row
FROM child_fills AS fills
INNER JOIN orders USING (order_id)
WHERE fills.symbol <> orders.symbol OR fills.side <> orders.side
