-- grain: a booked order
-- reads: booked_parents, booked_fills, booked_marks, filled_before, previous_close (symbol, close_px of the date before),
--        market_snapshots (accepted, one date), levels (what lies in a name's mid: ts, symbol, and of self, cross, peers
--        and market *_start_bps, *_end_bps without and, of self and cross, *_full_bps with the bucket's own flow)
-- params: $date, $bucket_s [s], $max_age_s [s]
-- gives: against which prices the order is measured, and what lay in the mid then [bps]: decision, arrival, close; status
-- An ARRIVAL mark after the first fill, or none, gives way to the mid when the order began; an order carried in
-- arrives at its name's previous close. A decision price off the market gives way to the mid at its time.
WITH quotes AS (
    SELECT symbol, ts AS quote_ts, (bid_px + ask_px) / 2 AS mid FROM market_snapshots
),
edges AS (
    SELECT symbol, arg_min(mid, quote_ts) AS first_mid, arg_max(mid, quote_ts) AS last_mid, max(quote_ts) AS last_ts
    FROM quotes
    GROUP BY symbol
),
worked AS (
    SELECT order_id, min(fill_ts) AS first_fill_ts, max(fill_ts) AS last_fill_ts, sum(fill_qty::DECIMAL(24, 8)) AS filled_qty
    FROM booked_fills
    GROUP BY order_id
),
begun AS (
    SELECT
        parents.*,
        worked.* EXCLUDE (order_id),
        marks.* EXCLUDE (order_id),
        coalesce(filled_before_qty, 0) AS filled_before_qty,
        date < $date::DATE AS is_carried,
        least(start_ts, first_fill_ts) AS begun_ts,
        arrival_mark_px IS NOT NULL AND arrival_mark_ts > first_fill_ts AS is_late
    FROM booked_parents AS parents
    LEFT JOIN worked USING (order_id)
    LEFT JOIN booked_marks AS marks USING (order_id)
    LEFT JOIN filled_before USING (order_id)
),
met AS (
    SELECT
        begun.*,
        if(begun_ts - at_start.quote_ts <= to_seconds($max_age_s), at_start.mid, NULL) AS begun_mid,
        CASE
            WHEN list_contains(rules, 'decision_near_mid') THEN coalesce(at_decision.mid, first_mid)
        END AS decision_mid,
        edges.last_mid,
        edges.last_ts,
        previous_close.close_px AS previous_px
    FROM begun
    ASOF LEFT JOIN quotes AS at_start ON begun.symbol = at_start.symbol AND begun.begun_ts >= at_start.quote_ts
    ASOF LEFT JOIN quotes AS at_decision
        ON begun.symbol = at_decision.symbol AND begun.decision_ts >= at_decision.quote_ts
    LEFT JOIN edges ON begun.symbol = edges.symbol
    LEFT JOIN previous_close ON begun.symbol = previous_close.symbol
),
struck AS (
    SELECT
        *,
        coalesce(decision_mid, decision_px)::DECIMAL(28, 10) AS decided_px,
        CASE
            WHEN is_carried AND previous_px IS NOT NULL THEN 'previous close'
            WHEN arrival_mark_px IS NOT NULL AND NOT coalesce(is_late, false) AND NOT is_carried THEN 'ARRIVAL'
            WHEN begun_mid IS NOT NULL AND NOT is_carried THEN 'mid at start'
            ELSE 'decision'
        END AS arrival_from,
        CASE
            WHEN close_mark_px IS NOT NULL THEN 'CLOSE'
            WHEN last_mid IS NOT NULL THEN 'last snapshot'
            ELSE 'decision'
        END AS close_from
    FROM met
),
priced AS (
    SELECT
        *,
        (CASE arrival_from
            WHEN 'previous close' THEN previous_px
            WHEN 'ARRIVAL' THEN arrival_mark_px
            WHEN 'mid at start' THEN begun_mid
            ELSE decided_px
        END)::DECIMAL(28, 10) AS arrival_px,
        CASE arrival_from
            WHEN 'previous close' THEN decision_ts
            WHEN 'ARRIVAL' THEN arrival_mark_ts
            WHEN 'mid at start' THEN begun_ts
            ELSE decision_ts
        END AS arrival_ts,
        (CASE close_from
            WHEN 'CLOSE' THEN close_mark_px
            WHEN 'last snapshot' THEN last_mid
            ELSE decided_px
        END)::DECIMAL(28, 10) AS close_px,
        CASE close_from WHEN 'CLOSE' THEN close_mark_ts WHEN 'last snapshot' THEN last_ts ELSE decision_ts END AS close_ts,
        concat_ws(
            '; ',
            if(decision_mid IS NOT NULL, 'decision_off_market', NULL),
            if(is_late, 'arrival_after_fill', NULL),
            if(filled_qty > 0 AND arrival_mark_px IS NULL AND NOT is_carried, 'arrival_missing', NULL),
            if(filled_qty > 0 AND close_mark_px IS NULL AND NOT is_open, 'close_missing', NULL),
            if(len(list_filter(rules, lambda rule: rule IN ('instrument_refused', 'parent_symbol_known'))) > 0, 'instrument_missing', NULL),
            if(is_carried, 'carried_in', NULL),
            if(is_over, 'late_fill', NULL),
            if(is_carried AND previous_px IS NULL, 'previous_close_missing', NULL)
        ) AS told
    FROM struck
),
moments AS (
    SELECT
        order_id,
        symbol,
        unnest(['decision', 'arrival', 'close']) AS kind,
        unnest([decision_ts, arrival_ts, close_ts]) AS moment
    FROM priced
),
lying AS (
    SELECT
        order_id,
        kind,
        least(epoch(moment - ts) / $bucket_s, 1) AS phase,
        self_start_bps + phase * (if(kind = 'close', self_full_bps, self_end_bps) - self_start_bps) AS self_bps,
        cross_start_bps + phase * (if(kind = 'close', cross_full_bps, cross_end_bps) - cross_start_bps) AS cross_bps,
        peers_start_bps + phase * (peers_end_bps - peers_start_bps) AS peers_bps,
        market_start_bps + phase * (market_end_bps - market_start_bps) AS market_bps
    FROM moments
    ASOF INNER JOIN levels ON moments.symbol = levels.symbol AND moments.moment >= levels.ts
),
lay AS (
    SELECT
        order_id,
        any_value(lying) FILTER (WHERE kind = 'decision') AS decided,
        any_value(lying) FILTER (WHERE kind = 'arrival') AS arrived,
        any_value(lying) FILTER (WHERE kind = 'close') AS closed
    FROM lying
    GROUP BY order_id
)
SELECT
    order_id,
    basket_id,
    symbol,
    side,
    date,
    is_carried,
    is_open,
    is_over,
    told,
    decision_ts,
    arrival_ts,
    end_ts,
    first_fill_ts,
    last_fill_ts,
    parent_qty::DECIMAL(24, 8) AS parent_qty,
    filled_before_qty::DECIMAL(24, 8) AS filled_before_qty,
    alpha_bps,
    interval_mid_px,
    decided_px AS decision_px,
    arrival_px,
    close_px,
    arrival_from,
    close_from,
    coalesce(arrived.self_bps, 0) AS self_struck_bps,
    coalesce(arrived.cross_bps, 0) AS cross_struck_bps,
    coalesce(arrived.peers_bps, 0) AS peers_struck_bps,
    coalesce(arrived.market_bps, 0) AS market_struck_bps,
    self_struck_bps - coalesce(decided.self_bps, 0) AS delay_self_bps,
    cross_struck_bps - coalesce(decided.cross_bps, 0) AS delay_cross_bps,
    peers_struck_bps - coalesce(decided.peers_bps, 0) AS delay_peers_bps,
    market_struck_bps - coalesce(decided.market_bps, 0) AS delay_market_bps,
    coalesce(closed.self_bps, 0) - coalesce(decided.self_bps, 0) AS opportunity_self_bps,
    coalesce(closed.cross_bps, 0) - coalesce(decided.cross_bps, 0) AS opportunity_cross_bps,
    coalesce(closed.peers_bps, 0) - coalesce(decided.peers_bps, 0) AS opportunity_peers_bps,
    coalesce(closed.market_bps, 0) - coalesce(decided.market_bps, 0) AS opportunity_market_bps
FROM priced
LEFT JOIN lay USING (order_id)
ORDER BY order_id
