-- grain: source file x reason
-- reads: book, prints
-- gives: n_rows [rows of the source date; reason null = landed]
SELECT 'market_snapshots' AS source, reason, count(*) AS n_rows FROM book GROUP BY ALL
UNION ALL
SELECT 'public_trades' AS source, reason, count(*) AS n_rows FROM prints GROUP BY ALL
ORDER BY source, reason
