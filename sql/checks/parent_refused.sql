-- grain: a fill that is sound itself, of an order that is refused
-- reads: child_fills, orders, parent_orders, broken_rows
-- gives: file, row
-- Of an order of an earlier date the rules of its own row are known.
WITH accepted AS (
    SELECT order_id
    FROM parent_orders
    ANTI JOIN (SELECT file, row FROM broken_rows WHERE table_name = 'parent_orders') USING (file, row)
    UNION
    SELECT order_id FROM orders WHERE is_earlier AND NOT is_refused
)

SELECT file, row
FROM child_fills
ANTI JOIN accepted USING (order_id)
ANTI JOIN (SELECT file, row FROM broken_rows WHERE table_name = 'child_fills') USING (file, row)
