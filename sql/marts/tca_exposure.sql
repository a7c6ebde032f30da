-- grain: order x bucket on which its cost hangs
-- reads: tca_fills, struck, levels (ts and symbol of every bucket)
-- params: $bucket_s [s]
-- gives: order_id, symbol, ts, start_usd and end_usd: what a bps of the name's mid at the bucket's start, and at its end,
--        costs the order [signed USD per bps]: fills add, the moment the benchmark was struck takes off
WITH met AS (
    SELECT order_id, symbol, ts, per_bps_usd AS weight, met_at AS phase
    FROM tca_fills
    WHERE NOT is_orphan
),
whole AS (
    SELECT order_id, sum(weight) AS weight FROM met GROUP BY order_id
),
benchmarked AS (
    SELECT
        struck.order_id,
        struck.symbol,
        levels.ts,
        -weight AS weight,
        least(epoch(arrival_ts - levels.ts) / $bucket_s, 1) AS phase
    FROM struck
    ASOF INNER JOIN levels ON struck.symbol = levels.symbol AND struck.arrival_ts >= levels.ts
    INNER JOIN whole ON struck.order_id = whole.order_id
)
SELECT order_id, symbol, ts, sum(weight * (1 - phase)) AS start_usd, sum(weight * phase) AS end_usd
FROM (FROM met UNION ALL FROM benchmarked)
GROUP BY order_id, symbol, ts
ORDER BY order_id, symbol, ts
