-- grain: a filled parent that is sound itself, one of whose marks is refused
-- reads: parent_orders, child_fills, benchmark_marks, broken_rows
-- gives: file, row
WITH complete AS (
    SELECT order_id
    FROM benchmark_marks
    ANTI JOIN (SELECT file, row FROM broken_rows WHERE table_name = 'benchmark_marks') USING (file, row)
    WHERE mark IN ('DECISION', 'ARRIVAL', 'CLOSE')
    GROUP BY order_id
    HAVING count(DISTINCT mark) = 3
)

SELECT file, row
FROM parent_orders
SEMI JOIN child_fills USING (order_id)
ANTI JOIN complete USING (order_id)
ANTI JOIN (SELECT file, row FROM broken_rows WHERE table_name = 'parent_orders') USING (file, row)
