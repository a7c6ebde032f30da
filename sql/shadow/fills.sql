-- grain: parent order x bucket with a fill of it
-- reads: child_fills (accepted, one date)
-- params: $bucket_s [s]
-- gives: order_id, ts (bucket start), shares (signed, buys positive), crossing: those of them that took liquidity
SELECT
    order_id,
    time_bucket(to_seconds($bucket_s), fill_ts) AS ts,
    sum(if(side = 'BUY', 1, -1) * fill_qty::DECIMAL(24, 8))::DOUBLE AS shares,
    coalesce(
        sum(if(side = 'BUY', 1, -1) * fill_qty::DECIMAL(24, 8)) FILTER (WHERE liquidity = 'AGGRESSIVE'), 0
    )::DOUBLE AS crossing
FROM child_fills
GROUP BY ALL
ORDER BY order_id, ts
