-- grain: a bucket of the symbol of a fill
-- reads: buckets, regimes (features of one date)
-- params: $symbol, $at (moment of the fill), $bucket_s [s], $min_net_share
-- gives: ts (bucket start), regime, q_usd, gross_usd [USD], s_bps, and fate: fitted in that regime; unplaced (no
--        instrument, or no fresh book at an end); netted out (the net flow is below $min_net_share of the gross
--        flow, so the slippage prices neither side); without a label no regime's fit reads it
WITH bucket AS (
    SELECT time_bucket(to_seconds($bucket_s), $at::TIMESTAMPTZ) AS ts
)
SELECT
    bucket.ts,
    regime,
    q_usd,
    gross_usd,
    s_bps,
    CASE
        WHEN buckets.symbol IS NULL OR mid_start IS NULL OR mid_end IS NULL THEN 'unplaced'
        WHEN coalesce(regime, 'unknown') = 'unknown' THEN 'dropped: no regime'
        WHEN abs(q_usd) < $min_net_share * gross_usd THEN 'netted out'
        ELSE 'fitted'
    END AS fate
FROM bucket
LEFT JOIN buckets ON buckets.ts = bucket.ts AND buckets.symbol = $symbol
LEFT JOIN regimes ON regimes.ts = bucket.ts
