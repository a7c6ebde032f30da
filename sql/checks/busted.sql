-- grain: a bust, and the execution it removes
-- reads: child_fills
-- gives: file, row
WITH busts AS (
    SELECT venue, order_id, ref_fill_id AS fill_id FROM child_fills WHERE exec_type = 'BUST'
)

SELECT file, row FROM child_fills WHERE exec_type = 'BUST'
UNION
SELECT file, row FROM child_fills SEMI JOIN busts USING (venue, order_id, fill_id)
