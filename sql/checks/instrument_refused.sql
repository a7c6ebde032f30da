-- grain: a fill that is sound itself, in a symbol whose instruments row is refused
-- reads: child_fills, instruments, broken_rows
-- gives: file, row
WITH accepted AS (
    SELECT symbol
    FROM instruments
    ANTI JOIN (SELECT file, row FROM broken_rows WHERE table_name = 'instruments') USING (file, row)
)

SELECT file, row
FROM child_fills
SEMI JOIN instruments USING (symbol)
ANTI JOIN accepted USING (symbol)
ANTI JOIN (SELECT file, row FROM broken_rows WHERE table_name = 'child_fills') USING (file, row)
