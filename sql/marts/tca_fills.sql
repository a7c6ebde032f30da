-- grain: a booked fill
-- reads: booked_fills, struck (the orders), market_snapshots, instruments (accepted, one date), buckets, regimes (features),
--        predictions (ts, symbol, self_bps, cross_bps of the bucket's own flow, priced_by), levels (what lies in a name's mid:
--        ts, symbol, and of self, cross, peers and market *_start_bps and *_end_bps, the bucket's own flow aside), own (order_id,
--        ts, own_start_bps, own_end_bps: what the order's earlier fills left of it), releases (since [UTC], release_id,
--        in_sample, release_status: who prices the buckets that start from then on)
-- params: $bucket_s [s], $max_age_s [s]
-- gives: the fill's cost and its causes, positive = worse [USD, exact micro-dollars]: total_usd = self_usd + cross_usd +
--        timing_usd + delay_usd + fees_spread_usd, each the sum of its causes; of the view by bucket start_drift_usd from the
--        mid at the bucket's start to the mid at the fill, and what of it faded (bucket_carried_usd), peers and market moved;
--        per_bps_usd [signed USD], met_at: place in the bucket, 0 to 1. An orphan's parent was refused: it has no decision
--        and no arrival, so what hangs on them is null.
-- Prices are fixed to 10 decimals and quantities to 8 first, so every difference and product below is exact; what is left
-- of rounding is the residual's. A fill without a mid no older than $max_age_s is its own mid (spread zero); one that is
-- off the market is priced at the mid. Within a bucket what lies in the price goes evenly from its start to its end.
WITH quotes AS (
    SELECT symbol, ts AS quote_ts, ((bid_px + ask_px) / 2)::DECIMAL(28, 10) AS mid FROM market_snapshots
),
starts AS (
    SELECT ts, symbol, mid_start::DECIMAL(28, 10) AS mid_start FROM buckets
),
fills AS (
    SELECT
        booked_fills.*,
        time_bucket(to_seconds($bucket_s), fill_ts) AS ts,
        epoch(fill_ts - time_bucket(to_seconds($bucket_s), fill_ts)) / $bucket_s AS met_at,
        if(side = 'BUY', 1, -1) * fill_qty::DECIMAL(24, 8) AS signed_qty
    FROM booked_fills
),
quoted AS (
    SELECT fills.*, if(fill_ts - quote_ts <= to_seconds($max_age_s), mid, NULL) AS mid
    FROM fills
    ASOF LEFT JOIN quotes ON fills.symbol = quotes.symbol AND fills.fill_ts >= quotes.quote_ts
),
priced AS (
    SELECT
        quoted.* EXCLUDE (fill_px, fill_qty, fee, rules),
        quoted.fill_qty::DECIMAL(24, 8) AS fill_qty,
        list_contains(rules, 'fill_near_mid') AND mid IS NOT NULL AS is_off_market,
        if(is_off_market, mid, quoted.fill_px::DECIMAL(28, 10)) AS fill_px,
        quoted.fee::DECIMAL(38, 10) AS fee,
        rules,
        basket_id,
        struck.order_id IS NULL AS is_orphan,
        mid IS NULL AS without_mid,
        mid_start IS NULL AS without_start,
        coalesce(mid, fill_px) AS met_px,
        coalesce(mid_start, mid, fill_px) AS start_px,
        decision_px,
        arrival_px,
        1e-4 * (signed_qty * fill_px)::DOUBLE AS per_bps_usd,
        COLUMNS('(self|cross|peers|market)_struck_bps|delay_(self|cross|peers|market)_bps')
    FROM quoted
    LEFT JOIN struck USING (order_id)
    LEFT JOIN starts ON quoted.ts = starts.ts AND quoted.symbol = starts.symbol
),
moved AS (
    SELECT
        priced.*,
        coalesce(predictions.self_bps, 0) AS self_now_bps,
        coalesce(predictions.cross_bps, 0) AS cross_now_bps,
        coalesce(priced_by, 'none (no book at both ends of the bucket)') AS priced_by,
        coalesce(own_start_bps + met_at * (own_end_bps - own_start_bps), 0) AS own_bps,
        coalesce(self_start_bps, 0) AS self_start,
        coalesce(cross_start_bps, 0) AS cross_start,
        coalesce(peers_start_bps, 0) AS peers_start,
        coalesce(market_start_bps, 0) AS market_start,
        coalesce(met_at * (self_end_bps - self_start_bps), 0) AS self_since,
        coalesce(met_at * (cross_end_bps - cross_start_bps), 0) AS cross_since,
        coalesce(met_at * (peers_end_bps - peers_start_bps), 0) AS peers_since,
        coalesce(met_at * (market_end_bps - market_start_bps), 0) AS market_since
    FROM priced
    LEFT JOIN predictions ON priced.ts = predictions.ts AND priced.symbol = predictions.symbol
    LEFT JOIN levels ON priced.ts = levels.ts AND priced.symbol = levels.symbol
    LEFT JOIN own ON priced.ts = own.ts AND priced.order_id = own.order_id
),
money AS (
    SELECT
        moved.*,
        round(fill_qty * fill_px, 6)::DECIMAL(38, 6) AS notional_usd,
        round(fee, 6)::DECIMAL(38, 6) AS fees_usd,
        round(signed_qty * (fill_px - decision_px), 6)::DECIMAL(38, 6) + fees_usd AS total_usd,
        round(signed_qty * (arrival_px - decision_px), 6)::DECIMAL(38, 6) AS delay_usd,
        round(signed_qty * (fill_px - met_px), 6)::DECIMAL(38, 6) AS spread_usd,
        round(signed_qty * (met_px - start_px), 6)::DECIMAL(38, 6) AS start_drift_usd,
        (per_bps_usd * self_now_bps)::DECIMAL(38, 6) AS self_now_usd,
        (per_bps_usd * own_bps)::DECIMAL(38, 6) AS self_own_carried_usd,
        (per_bps_usd * (self_start + self_since - self_struck_bps))::DECIMAL(38, 6) AS self_carried_usd,
        (per_bps_usd * cross_now_bps)::DECIMAL(38, 6) AS cross_now_usd,
        (per_bps_usd * (cross_start + cross_since - cross_struck_bps))::DECIMAL(38, 6) AS cross_carried_usd,
        (per_bps_usd * (peers_start + peers_since - peers_struck_bps))::DECIMAL(38, 6) AS peers_usd,
        (per_bps_usd * (market_start + market_since - market_struck_bps))::DECIMAL(38, 6) AS market_usd,
        (per_bps_usd * delay_self_bps)::DECIMAL(38, 6) AS delay_self_usd,
        (per_bps_usd * delay_cross_bps)::DECIMAL(38, 6) AS delay_cross_usd,
        (per_bps_usd * delay_peers_bps)::DECIMAL(38, 6) AS delay_peers_usd,
        (per_bps_usd * delay_market_bps)::DECIMAL(38, 6) AS delay_market_usd,
        if(without_start, 0, per_bps_usd * (self_since + cross_since))::DECIMAL(38, 6) AS bucket_carried_usd,
        if(without_start, 0, per_bps_usd * peers_since)::DECIMAL(38, 6) AS bucket_peers_usd,
        if(without_start, 0, per_bps_usd * market_since)::DECIMAL(38, 6) AS bucket_market_usd
    FROM moved
),
split AS (
    SELECT
        *,
        self_carried_usd - self_own_carried_usd AS self_sibling_carried_usd,
        self_now_usd + self_carried_usd AS self_usd,
        cross_now_usd + cross_carried_usd AS cross_usd,
        fees_usd + spread_usd AS fees_spread_usd,
        total_usd - self_usd - cross_usd - delay_usd - fees_spread_usd AS timing_usd,
        timing_usd - peers_usd - market_usd AS residual_usd,
        cross_usd + timing_usd AS cross_realized_usd,
        delay_usd - delay_self_usd - delay_cross_usd - delay_peers_usd - delay_market_usd AS delay_residual_usd
    FROM money
)
SELECT
    split.* EXCLUDE (fill_px, fee, rules),
    fill_px::DOUBLE AS fill_px,
    if(without_mid, NULL, met_px)::DOUBLE AS mid_px,
    instruments.sector,
    coalesce(regime, 'unknown') AS regime,
    coalesce(
        nullif(
            concat_ws(
                '; ',
                if(is_orphan, 'order_refused', NULL),
                if(list_contains(rules, 'snapshot_fresh') OR without_mid, 'no_mid', NULL),
                if(is_off_market, 'off_market', NULL),
                if(list_contains(rules, 'fill_in_window'), 'outside_window', NULL)
            ),
            ''
        ),
        'ok'
    ) AS status,
    release_id,
    in_sample,
    release_status
FROM split
LEFT JOIN instruments ON split.symbol = instruments.symbol
LEFT JOIN regimes ON split.ts = regimes.ts
ASOF LEFT JOIN releases ON split.ts >= releases.since
ORDER BY fill_id, venue
