-- grain: bucket x symbol with a state or a flow
-- reads: buckets (features of one date)
-- params: $bucket_s [s]
-- gives: t (buckets since the date's first one), i (dense 0-based symbol index), symbol, mid_start and mid_end
--        [price, null without a book]
SELECT
    (epoch(ts - min(ts) OVER ()) / $bucket_s)::BIGINT AS t,
    dense_rank() OVER (ORDER BY symbol) - 1 AS i,
    symbol,
    mid_start,
    mid_end
FROM buckets
ORDER BY t, i
