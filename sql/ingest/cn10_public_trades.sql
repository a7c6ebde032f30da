-- grain: symbol x 3 s tick with turnover whose size and side can be trusted
-- reads: prints
-- gives: contract table public_trades
SELECT symbol, ts, px, qty, aggressor_side
FROM prints
WHERE reason IS NULL
ORDER BY symbol, ts, px, qty, aggressor_side
