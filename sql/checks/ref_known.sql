-- grain: a correction or bust of what was not executed that date for its order at its venue
-- reads: child_fills
-- gives: file, row
WITH executions AS (
    SELECT venue, order_id, fill_id AS ref_fill_id FROM child_fills
)

SELECT file, row
FROM child_fills
ANTI JOIN executions USING (venue, order_id, ref_fill_id)
WHERE exec_type IN ('CORRECT', 'BUST') AND ref_fill_id IS NOT NULL
