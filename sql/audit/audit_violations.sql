-- grain: a row and a rule it breaks, in an entry of the ledger
-- reads: entries
-- gives: date, seq, and the row as it was told
SELECT date, seq, unnest(violations, recursive := true)
FROM entries
