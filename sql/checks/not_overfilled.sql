-- grain: a fill that is larger than its order, or at or after the one that takes it beyond parent_qty
-- reads: child_fills, orders, filled_before, broken_rows
-- gives: file, row
-- The culprit first: a fill that exceeds its order by itself is broken, and then neither counts nor is
-- counted, as those broken otherwise. Fractions like 0.1 have no exact double, hence $max_overfill (a share).
WITH broken AS (
    SELECT file, row FROM broken_rows WHERE table_name = 'child_fills'
),

fills AS (
    SELECT
        file,
        row,
        order_id,
        fill_ts,
        fill_qty,
        orders.parent_qty * (1 + $max_overfill) AS limit_qty
    FROM child_fills
    INNER JOIN orders USING (order_id)
    ANTI JOIN broken USING (file, row)
    WHERE orders.parent_qty > 0
),

beyond AS (
    SELECT order_id, any_value(filled_before.filled_qty) AS before_qty
    FROM fills
    LEFT JOIN filled_before USING (order_id)
    GROUP BY order_id
    HAVING coalesce(any_value(filled_before.filled_qty), 0) + sum(fill_qty) > any_value(limit_qty)
),

running AS (
    SELECT
        file,
        row,
        limit_qty,
        coalesce(before_qty, 0) + sum(fill_qty) OVER (
            PARTITION BY order_id ORDER BY fill_ts, file, row ROWS UNBOUNDED PRECEDING
        ) AS filled_qty
    FROM fills
    INNER JOIN beyond USING (order_id)
    WHERE fill_qty <= limit_qty
)

SELECT file, row FROM fills WHERE fill_qty > limit_qty
UNION ALL
SELECT file, row FROM running WHERE filled_qty > limit_qty
