-- grain: order x bucket with an accepted fill
-- reads: booked_fills
-- params: $bucket_s [s]
-- gives: ts, symbol, order_id, signed_usd [USD, buys positive]
SELECT
    time_bucket(to_seconds($bucket_s), fill_ts) AS ts,
    symbol,
    order_id,
    sum(if(side = 'BUY', 1, -1) * fill_px * fill_qty) AS signed_usd
FROM booked_fills
WHERE len(rules) = 0
GROUP BY ALL
ORDER BY ts, symbol, order_id
