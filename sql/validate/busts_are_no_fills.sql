-- grain: what the row of a bust says of price and quantity is no execution's: those verdicts go
-- reads: found, child_fills
-- gives: nothing
DELETE FROM found
WHERE table_name = 'child_fills'
    AND date = getvariable('day')
    AND rule_id NOT IN ('busted', 'ref_known', 'ref_given', 'cast', 'unique_key')
    AND (file, row) IN (SELECT (file, row) FROM child_fills WHERE exec_type = 'BUST')
