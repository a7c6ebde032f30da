-- grain: symbol x date of a file of daily bars
-- reads: bars (staged)
-- gives: notional [quote currency]: as given, else volume x close
SELECT symbol, date, sum(coalesce(notional, volume * close)::DECIMAL(38, 6)) AS notional
FROM bars
WHERE reason IS NULL AND coalesce(notional, volume * close) BETWEEN 0 AND 1e15
GROUP BY symbol, date
ORDER BY symbol, date
