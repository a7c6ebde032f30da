-- grain: symbol x bucket with at least one fill of the desk
-- reads: child_fills (accepted, one date)
-- params: $bucket_s [s]
-- gives: q_usd (net, buys positive), gross_usd [USD, exact], n_fills, vwap [price]
WITH fills AS (
    SELECT
        symbol,
        time_bucket(to_seconds($bucket_s), fill_ts) AS bucket,
        if(side = 'BUY', 1, -1) AS sign,
        fill_px::DECIMAL(28, 10) * fill_qty::DECIMAL(24, 8) AS notional_usd,
        fill_qty::DECIMAL(24, 8) AS qty
    FROM child_fills
)
SELECT
    symbol,
    bucket,
    sum(sign * notional_usd) AS q_usd,
    sum(notional_usd) AS gross_usd,
    count(*) AS n_fills,
    sum(notional_usd)::DOUBLE / nullif(sum(qty)::DOUBLE, 0) AS vwap
FROM fills
GROUP BY symbol, bucket
