-- grain: one row
-- reads: $file
-- gives: n_rows, n_without_key [rows whose symbol, session time or both are missing]
SELECT count(*) AS n_rows, count(*) FILTER (symbol IS NULL OR ts IS NULL) AS n_without_key
FROM read_parquet($file)
