-- grain: an execution that a correction replaces
-- reads: child_fills
-- gives: file, row
WITH corrections AS (
    SELECT venue, order_id, ref_fill_id AS fill_id FROM child_fills WHERE exec_type = 'CORRECT'
)

SELECT file, row FROM child_fills SEMI JOIN corrections USING (venue, order_id, fill_id)
