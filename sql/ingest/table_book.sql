-- grain: landed two-sided snapshot, and per symbol the opening state that stands before the first one
-- reads: market_snapshots (of one date)
-- params: $max_age_s [s]
-- gives: mid [price] known from ts on, good until good_until
WITH mids AS (
    SELECT symbol, ts, (bid_px + ask_px) / 2 AS mid FROM market_snapshots WHERE bid_px <= ask_px
)
SELECT symbol, ts, mid, ts + to_microseconds(($max_age_s * 1000000)::BIGINT) AS good_until FROM mids
UNION ALL
SELECT symbol, min(ts) - INTERVAL 2 DAYS, arg_min(mid, ts), min(ts) FROM mids GROUP BY symbol
ORDER BY symbol, ts
