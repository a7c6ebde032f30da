-- grain: bucket x symbol with a state or a flow
-- reads: buckets, regimes (features of one date), public_trades (accepted, one date)
-- params: $bucket_s [s]
-- gives: t (buckets since the date's first one), i (dense 0-based symbol index), ts, symbol, regime, mid_start and
--        mid_end [price, null without a book], spread_bps [bps], adv_notional, q_usd (own net flow) [USD],
--        volume_usd: all prints less the desk's own fills, >= 0 [USD]
WITH prints AS (
    SELECT
        symbol,
        time_bucket(to_seconds($bucket_s), ts) AS ts,
        sum((px * qty)::DECIMAL(38, 6)) AS printed_usd
    FROM public_trades
    GROUP BY ALL
)
SELECT
    (epoch(ts - min(ts) OVER ()) / $bucket_s)::BIGINT AS t,
    dense_rank() OVER (ORDER BY symbol) - 1 AS i,
    ts,
    symbol,
    coalesce(regime, 'unknown') AS regime,
    mid_start,
    mid_end,
    spread_bps,
    adv_notional,
    q_usd,
    greatest(coalesce(printed_usd, 0)::DOUBLE - gross_usd, 0) AS volume_usd
FROM buckets
LEFT JOIN regimes USING (ts)
LEFT JOIN prints USING (ts, symbol)
ORDER BY t, i
