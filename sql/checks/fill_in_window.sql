-- grain: a fill outside its order's window
-- reads: child_fills, parent_orders
-- gives: file, row
-- An order whose window is itself upside down judges nobody; of orders with one id the first counts.
WITH fills AS (
    SELECT file, row, order_id, fill_ts FROM child_fills
),

parents AS (
    SELECT order_id, start_ts, end_ts
    FROM parent_orders
    QUALIFY row_number() OVER (PARTITION BY order_id ORDER BY file, row) = 1
)

SELECT fills.file, fills.row
FROM fills
INNER JOIN parents USING (order_id)
WHERE parents.start_ts < parents.end_ts
    AND (fills.fill_ts < parents.start_ts OR fills.fill_ts > parents.end_ts)
