-- grain: a fill at or after the one that takes its order beyond parent_qty by more than $max_overfill of it
-- reads: child_fills, parent_orders, broken_rows
-- gives: file, row
-- Fractions like 0.1 have no exact double, hence the tolerance. Fills already broken on their own (duplicates included) neither count nor are counted.
WITH broken AS (
    SELECT file, row FROM broken_rows WHERE table_name = 'child_fills'
),

fills AS (
    SELECT file, row, order_id, fill_ts, fill_qty
    FROM child_fills
    ANTI JOIN broken USING (file, row)
),

parents AS (
    SELECT order_id, parent_qty
    FROM parent_orders
    QUALIFY row_number() OVER (PARTITION BY order_id ORDER BY file, row) = 1
),

running AS (
    SELECT
        file,
        row,
        order_id,
        sum(fill_qty) OVER (
            PARTITION BY order_id ORDER BY fill_ts, file, row ROWS UNBOUNDED PRECEDING
        ) AS filled_qty
    FROM fills
)

SELECT running.file, running.row
FROM running
INNER JOIN parents USING (order_id)
WHERE parents.parent_qty > 0 AND running.filled_qty > parents.parent_qty * (1 + $max_overfill)
