-- grain: date of the source
-- reads: days
-- gives: date, ascending
SELECT DISTINCT date FROM days ORDER BY date
