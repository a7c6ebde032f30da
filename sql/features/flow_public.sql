-- grain: symbol x bucket with at least one public print
-- reads: public_trades (accepted, one date)
-- params: $bucket_s [s]
-- gives: q_usd (net aggressor notional, buyers positive), gross_usd [USD, exact], n_fills (prints),
--        vwap null: the response of a public bucket is its mid return
WITH prints AS (
    SELECT
        symbol,
        time_bucket(to_seconds($bucket_s), ts) AS bucket,
        aggressor_side AS sign,
        (px * qty)::DECIMAL(30, 6) AS notional_usd
    FROM public_trades
)
SELECT
    symbol,
    bucket,
    sum(sign * notional_usd) AS q_usd,
    sum(notional_usd) AS gross_usd,
    count(*) AS n_fills,
    NULL::DOUBLE AS vwap
FROM prints
GROUP BY symbol, bucket
