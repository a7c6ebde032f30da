-- grain: a filled parent without its DECISION, ARRIVAL and CLOSE marks
-- reads: parent_orders, child_fills, benchmark_marks
-- gives: file, row
WITH parents AS (
    SELECT file, row, order_id
    FROM parent_orders
    WHERE end_ts < getvariable('session_to')  -- one that lasts longer has its marks on its last date
),

fills AS (
    SELECT order_id FROM child_fills
),

complete AS (
    SELECT order_id
    FROM benchmark_marks
    WHERE mark IN ('DECISION', 'ARRIVAL', 'CLOSE') AND isfinite(px) AND px > 0
    GROUP BY order_id
    HAVING count(DISTINCT mark) = 3
)

SELECT parents.file, parents.row
FROM parents
SEMI JOIN fills USING (order_id)
ANTI JOIN complete USING (order_id)
