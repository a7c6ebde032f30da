-- grain: column of the file
-- reads: $file
-- gives: column_name, column_type
SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM read_parquet($file))
