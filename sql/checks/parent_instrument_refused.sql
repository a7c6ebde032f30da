-- grain: a parent that is sound itself, in a symbol whose instruments row is refused
-- reads: parent_orders, instruments, broken_rows
-- gives: file, row
WITH accepted AS (
    SELECT symbol
    FROM instruments
    ANTI JOIN (SELECT file, row FROM broken_rows WHERE table_name = 'instruments') USING (file, row)
)

SELECT file, row
FROM parent_orders
SEMI JOIN instruments USING (symbol)
ANTI JOIN accepted USING (symbol)
ANTI JOIN (SELECT file, row FROM broken_rows WHERE table_name = 'parent_orders') USING (file, row)
