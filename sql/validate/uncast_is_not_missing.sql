-- grain: the row of a cell that did not cast: its null is no missing cell, so drop that verdict
-- reads: found
-- gives: nothing
DELETE FROM found
WHERE rule_id LIKE '%.not_null'
    AND (table_name, date, file, row) IN (
        SELECT (table_name, date, file, row) FROM found WHERE rule_id = 'cast'
    )
