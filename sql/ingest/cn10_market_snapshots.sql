-- grain: symbol x 3 s tick with a fresh two-sided book
-- reads: book
-- gives: contract table market_snapshots (short_vol_bps left null: derived downstream)
SELECT symbol, ts, bid_px, ask_px, bid_size, ask_size, CAST(NULL AS DOUBLE) AS short_vol_bps
FROM book
WHERE reason IS NULL
ORDER BY symbol, ts
