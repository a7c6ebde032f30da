-- grain: staged snapshot of a known instrument inside the session
-- reads: quotes (staged, one date), instruments
-- params: $open, $close, $keep_locked, $keep_crossed
-- gives: market_snapshots' columns as the source samples them, where they came from, and why one is left out
SELECT
    symbol,
    ts,
    bid_px,
    ask_px,
    bid_size,
    ask_size,
    short_vol_bps,
    source_file,
    source_row,
    CASE
        WHEN NOT (bid_px > 0 AND ask_px > 0) THEN 'one_sided_book'
        WHEN bid_px = ask_px AND NOT $keep_locked THEN 'locked_book'
        WHEN bid_px > ask_px AND NOT $keep_crossed THEN 'crossed_book'
    END AS reason
FROM quotes
SEMI JOIN instruments USING (symbol)
WHERE reason IS NULL AND ts >= $open AND ts <= $close
ORDER BY symbol, ts, source_file, source_row
