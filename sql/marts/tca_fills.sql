-- grain: an accepted fill
-- reads: child_fills, parent_orders, benchmark_marks, market_snapshots (accepted, one date), buckets (features),
--        predictions (ts, symbol, self_bps, cross_bps, priced_by), carried (ts, symbol, and of self, cross and peers
--        what lies in the price at the bucket's start and end, its own flow aside: *_start_bps, *_end_bps), releases
--        (since [UTC], release_id, in_sample, release_status: who prices the buckets that start from then on)
-- params: $bucket_s [s], $max_age_s [s]
-- gives: exact pieces of the fill's cost, positive = worse [USD, 18 decimals]:
--        shortfall_usd from the decision to the fill, of which delay_usd up to the arrival and spread_usd from the
--        mid at the fill; start_drift_usd from the mid at the bucket's start to the mid at the fill; self_usd and
--        cross_usd are the model's of the bucket's own flow, self_carried_usd, cross_carried_usd and
--        peers_usd of what came between the order's arrival and the fill, bucket_carried_usd and bucket_peers_usd of
--        what did since the bucket's start. An orphan's parent was refused: it has no decision and no arrival, so its
--        shortfall and delay are null.
-- Prices are fixed to 10 decimals and quantities to 8 first, so every difference and product below is exact. A fill without a mid no
-- older than $max_age_s is its own mid (spread zero); a parent without an ARRIVAL mark arrived at its decision.
WITH fills AS (
    SELECT
        fill_id,
        order_id,
        symbol,
        fill_ts,
        time_bucket(to_seconds($bucket_s), fill_ts) AS ts,
        venue,
        fill_qty::DECIMAL(24, 8) AS fill_qty,
        if(side = 'BUY', 1, -1) * fill_qty::DECIMAL(24, 8) AS signed_qty,
        fill_px::DECIMAL(28, 10) AS fill_px,
        fee::DECIMAL(38, 10) AS fees_usd
    FROM child_fills
),
quotes AS (
    SELECT symbol, ts AS quote_ts, ((bid_px + ask_px) / 2)::DECIMAL(28, 10) AS mid
    FROM market_snapshots
),
orders AS (
    SELECT order_id, decision_ts, decision_px::DECIMAL(28, 10) AS decision_px FROM parent_orders
),
arrivals AS (
    SELECT order_id, ts AS arrival_ts, px::DECIMAL(28, 10) AS arrival_px
    FROM benchmark_marks
    WHERE mark = 'ARRIVAL'
),
starts AS (
    SELECT ts, symbol, mid_start::DECIMAL(28, 10) AS mid_start FROM buckets
),
-- Within a bucket what lies in the price goes evenly from its start to its end.
lying AS (
    SELECT
        ts,
        symbol,
        self_start_bps,
        self_end_bps - self_start_bps AS self_change_bps,
        cross_start_bps,
        cross_end_bps - cross_start_bps AS cross_change_bps,
        peers_start_bps,
        peers_end_bps - peers_start_bps AS peers_change_bps
    FROM carried
),
quoted AS (
    SELECT
        fills.*,
        if(fill_ts - quote_ts <= to_seconds($max_age_s), mid, NULL) AS mid
    FROM fills
    ASOF LEFT JOIN quotes ON fills.symbol = quotes.symbol AND fills.fill_ts >= quotes.quote_ts
),
priced AS (
    SELECT
        quoted.* EXCLUDE (mid),
        orders.order_id IS NULL AS is_orphan,
        quoted.mid IS NULL AS without_mid,
        starts.mid_start IS NULL AS without_start,
        decision_px,
        coalesce(arrival_px, decision_px) AS arrival_px,
        coalesce(arrival_ts, decision_ts, fill_ts) AS arrival_ts,
        coalesce(quoted.mid, fill_px) AS mid_px,
        coalesce(mid_start, quoted.mid, fill_px) AS start_px,
        fill_qty * fill_px AS notional_usd,
        1e-4 * (signed_qty * fill_px)::DOUBLE AS per_bps_usd,
        coalesce(self_bps, 0) AS self_bps,
        coalesce(cross_bps, 0) AS cross_bps,
        coalesce(priced_by, 'none (no book at both ends of the bucket)') AS priced_by
    FROM quoted
    LEFT JOIN orders USING (order_id)
    LEFT JOIN arrivals USING (order_id)
    LEFT JOIN starts USING (ts, symbol)
    LEFT JOIN predictions USING (ts, symbol)
),
since_arrival AS (
    SELECT
        priced.*,
        coalesce(met.self_start_bps + met_at * met.self_change_bps, 0)
            - coalesce(struck.self_start_bps + struck_at * struck.self_change_bps, 0) AS self_carried_bps,
        coalesce(met.cross_start_bps + met_at * met.cross_change_bps, 0)
            - coalesce(struck.cross_start_bps + struck_at * struck.cross_change_bps, 0) AS cross_carried_bps,
        coalesce(met.peers_start_bps + met_at * met.peers_change_bps, 0)
            - coalesce(struck.peers_start_bps + struck_at * struck.peers_change_bps, 0) AS peers_bps,
        if(without_start, 0, coalesce(met_at * (met.self_change_bps + met.cross_change_bps), 0)) AS bucket_carried_bps,
        if(without_start, 0, coalesce(met_at * met.peers_change_bps, 0)) AS bucket_peers_bps
    FROM (
        SELECT
            *,
            time_bucket(to_seconds($bucket_s), arrival_ts) AS arrival_bucket,
            epoch(fill_ts - ts) / $bucket_s AS met_at,
            epoch(arrival_ts - arrival_bucket) / $bucket_s AS struck_at
        FROM priced
    ) AS priced
    LEFT JOIN lying AS met USING (ts, symbol)
    LEFT JOIN lying AS struck ON struck.ts = priced.arrival_bucket AND struck.symbol = priced.symbol
)
SELECT
    fill_id,
    venue,
    order_id,
    symbol,
    ts,
    is_orphan,
    without_mid,
    without_start,
    fill_qty,
    notional_usd,
    fees_usd,
    signed_qty * (fill_px - decision_px) AS shortfall_usd,
    signed_qty * (arrival_px - decision_px) AS delay_usd,
    signed_qty * (mid_px - start_px) AS start_drift_usd,
    signed_qty * (fill_px - mid_px) AS spread_usd,
    (per_bps_usd * self_bps)::DECIMAL(38, 10) AS self_usd,
    (per_bps_usd * cross_bps)::DECIMAL(38, 10) AS cross_usd,
    (per_bps_usd * self_carried_bps)::DECIMAL(38, 10) AS self_carried_usd,
    (per_bps_usd * cross_carried_bps)::DECIMAL(38, 10) AS cross_carried_usd,
    (per_bps_usd * peers_bps)::DECIMAL(38, 10) AS peers_usd,
    (per_bps_usd * bucket_carried_bps)::DECIMAL(38, 10) AS bucket_carried_usd,
    (per_bps_usd * bucket_peers_bps)::DECIMAL(38, 10) AS bucket_peers_usd,
    priced_by,
    release_id,
    in_sample,
    release_status
FROM since_arrival
ASOF LEFT JOIN releases ON since_arrival.ts >= releases.since
ORDER BY fill_id, venue
