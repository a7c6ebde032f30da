-- grain: symbol
-- reads: market_snapshots (accepted, one date)
-- gives: symbol, mid_px [quote currency], the last of the date
SELECT symbol, arg_max((bid_px + ask_px) / 2, ts) AS mid_px
FROM market_snapshots
GROUP BY symbol
