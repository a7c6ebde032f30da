-- grain: symbol x bucket in which the symbol has a fresh two-sided book at both ends, or the flow of a fill;
--        without the book mids, move and slippage are null, but what was traded still stands
-- reads: instruments, market_snapshots, peer_flow (accepted, one date), flow (see flow_own / flow_public)
-- params: $bucket_s [s], $max_age_s [s], $opening_s [s]
-- gives: ts, mid_start and mid_end [price], move_bps, spread_bps [bps], depth_usd [USD], vol_bps [bps per snapshot],
--        q_usd, gross_usd [USD], q_adv [fraction of ADV], n_fills, s_bps [bps, positive = cost, null when q = 0],
--        sector_flow_adv, factor_flow_adv [fraction of the symbol's ADV], from peer flow on a wider or narrower
--        grid added up or spread evenly
-- The state of a bucket is read at its two ends as of the last snapshot no older than $max_age_s; a session's
-- first bucket, which has none before it, starts at its first snapshot within $opening_s. What happens after the
-- bucket's end changes nothing in it.
WITH quotes AS (
    SELECT
        symbol,
        ts,
        (bid_px + ask_px) / 2 AS mid,
        1e4 * (ask_px - bid_px) / ((bid_px + ask_px) / 2) AS spread_bps,
        (bid_size * bid_px + ask_size * ask_px) / 2 AS depth_usd,
        short_vol_bps,
        time_bucket(to_seconds($bucket_s), ts) AS bucket
    FROM market_snapshots
    SEMI JOIN instruments USING (symbol)
),
returns AS (
    SELECT
        *,
        1e4 * (mid / lag(mid) OVER (PARTITION BY symbol, bucket ORDER BY ts) - 1) AS ret_bps
    FROM quotes
),
state AS (
    SELECT
        symbol,
        bucket,
        CASE
            WHEN min(ts) <= bucket + to_seconds($opening_s) THEN arg_min(mid, ts)
        END AS opening_mid,
        avg(spread_bps) AS spread_bps,
        avg(depth_usd) AS depth_usd,
        coalesce(arg_max(short_vol_bps, ts), stddev_samp(ret_bps)) AS vol_bps
    FROM returns
    GROUP BY symbol, bucket
),
edges AS (
    SELECT symbol, bucket, bucket AS edge_ts, true AS is_start FROM state
    UNION ALL
    SELECT symbol, bucket, bucket + to_seconds($bucket_s), false FROM state
),
mids AS (
    SELECT
        edges.symbol,
        edges.bucket,
        max(quotes.mid) FILTER (WHERE is_start) AS mid_start,
        max(quotes.mid) FILTER (WHERE NOT is_start) AS mid_end
    FROM edges
    ASOF JOIN quotes ON edges.symbol = quotes.symbol AND edges.edge_ts >= quotes.ts
    WHERE edge_ts - quotes.ts <= to_seconds($max_age_s)
    GROUP BY edges.symbol, edges.bucket
),
moves AS (
    SELECT
        symbol,
        bucket,
        coalesce(mids.mid_start, opening_mid) AS mid_start,
        mid_end,
        1e4 * (mid_end / coalesce(mids.mid_start, opening_mid) - 1) AS move_bps
    FROM mids
    JOIN state USING (symbol, bucket)
    WHERE coalesce(mids.mid_start, opening_mid) IS NOT NULL AND mid_end IS NOT NULL
),
cells AS (
    SELECT symbol, bucket FROM moves
    UNION
    SELECT symbol, bucket FROM flow
),
peer_gaps AS (
    SELECT epoch(ts) - epoch(lag(ts) OVER (PARTITION BY symbol ORDER BY ts)) AS gap_s FROM peer_flow
),
peer_grid AS (
    SELECT greatest(1, coalesce(min(gap_s), 0)::BIGINT // $bucket_s) AS pieces
    FROM peer_gaps
    WHERE gap_s > 0
),
peers AS (
    SELECT
        symbol,
        time_bucket(to_seconds($bucket_s), ts + to_seconds(piece * $bucket_s)) AS bucket,
        sum(sector_flow / pieces) AS sector_flow,
        sum(factor_flow / pieces) AS factor_flow
    FROM peer_flow
    CROSS JOIN (SELECT pieces, unnest(range(pieces)) AS piece FROM peer_grid) AS grid
    GROUP BY ALL
)
SELECT
    cells.bucket AS ts,
    cells.symbol,
    instruments.sector,
    instruments.adv_notional,
    mid_start,
    mid_end,
    move_bps,
    spread_bps,
    depth_usd,
    vol_bps,
    coalesce(q_usd, 0)::DOUBLE AS q_usd,
    coalesce(q_usd, 0)::DOUBLE / adv_notional AS q_adv,
    coalesce(gross_usd, 0)::DOUBLE AS gross_usd,
    coalesce(n_fills, 0)::BIGINT AS n_fills,
    CASE
        WHEN coalesce(q_usd, 0) <> 0
            THEN sign(q_usd) * coalesce(1e4 * (vwap - mid_start) / mid_start, move_bps)
    END AS s_bps,
    coalesce(sector_flow, 0) / adv_notional AS sector_flow_adv,
    coalesce(factor_flow, 0) / adv_notional AS factor_flow_adv
FROM cells
JOIN instruments USING (symbol)
LEFT JOIN moves USING (symbol, bucket)
LEFT JOIN state USING (symbol, bucket)
LEFT JOIN flow USING (symbol, bucket)
LEFT JOIN peers USING (symbol, bucket)
ORDER BY ts, symbol
