-- grain: symbol traded on $date
-- reads: trades (staged prints of one date)
-- params: $date
-- gives: notional [quote currency, exact]: every print that was traded, left out of the landing or not
SELECT
    symbol,
    CAST($date AS DATE) AS date,
    sum((px * qty)::DECIMAL(38, 6)) AS notional
FROM trades
WHERE symbol IS NOT NULL
    AND px * qty BETWEEN 0 AND 1e15
    AND (reason IS NULL OR in_adv AND reason NOT LIKE 'unreadable%' AND reason NOT LIKE 'missing%')
GROUP BY symbol
ORDER BY symbol
