-- grain: scope x name: the desk, and each basket, symbol, sector, regime and venue
-- reads: tca_orders, tca_fills, tca_buckets, releases, scope_noise (scope, name, residual_sd_usd), quantiles (scope, name,
--        p50_bps to p95_high_bps)
-- params: $date
-- gives: the shortfall and its causes [USD, exact sums of tca_orders; of a venue of its fills, and what was not executed under
--        no venue; bps of notional_usd], the bucket view of cross impact [USD, of the desk], and counts of what the numbers
--        rest on
WITH labelled AS (
    SELECT
        tca_orders.*,
        unnest(['desk', 'basket', 'symbol', 'sector', 'regime']) AS scope,
        unnest(['', coalesce(basket_id, ''), symbol, coalesce(sector, ''), regime]) AS name
    FROM tca_orders
),
ordered AS (
    SELECT
        scope,
        name,
        count(*) AS parents,
        count(*) FILTER (WHERE filled_qty > 0) AS parents_filled,
        count(*) FILTER (WHERE status <> 'ok') AS parents_flagged,
        sum(n_fills) AS fills,
        sum(fills_without_mid) AS fills_without_mid,
        sum(COLUMNS('(notional|filled|executed_unpriced|total|self|cross|timing|peers|market|residual|delay|fees|spread|opportunity)(_[a-z_]+)?_usd')),
        count(*) FILTER (WHERE arrival_from = 'decision') AS arrivals_from_decision,
        count(*) FILTER (WHERE close_from = 'last snapshot') AS closes_from_snapshot,
        count(*) FILTER (WHERE close_from = 'decision') AS closes_from_decision
    FROM labelled
    GROUP BY scope, name
),
executed AS (
    SELECT
        'venue' AS scope,
        coalesce(venue, '') AS name,
        count(DISTINCT order_id) AS parents,
        count(*) AS fills,
        count(*) FILTER (WHERE without_mid) AS fills_without_mid,
        count(DISTINCT order_id) FILTER (WHERE status <> 'ok') AS parents_flagged,
        sum(COLUMNS('(notional|total|self|cross|timing|peers|market|residual|delay|fees|spread)(_[a-z_]+)?_usd')),
        sum(notional_usd) FILTER (WHERE without_mid) AS executed_unpriced_usd
    FROM tca_fills
    WHERE NOT is_orphan
    GROUP BY venue
),
missed AS (
    SELECT
        'venue' AS scope,
        '' AS name,
        opportunity_usd AS total_usd,
        COLUMNS('opportunity.*_usd')
    FROM ordered
    WHERE scope = 'desk' AND opportunity_usd <> 0
),
rows AS (
    FROM ordered
    UNION ALL BY NAME
    SELECT *, parents AS parents_filled, notional_usd AS filled_usd FROM executed
    UNION ALL BY NAME
    FROM missed
    UNION ALL BY NAME
    -- a day without orders still has its row
    SELECT 'desk' AS scope, '' AS name WHERE NOT EXISTS (FROM tca_orders)
),
counted AS (
    SELECT
        scope,
        name,
        coalesce(COLUMNS('parents.*|fills.*|arrivals.*|closes.*'), 0)::BIGINT,
        coalesce(COLUMNS('.*_usd'), 0)::DECIMAL(38, 6)
    FROM rows
),
buckets AS (
    SELECT
        coalesce(sum(cross_usd), 0) AS bucket_cross_usd,
        coalesce(sum(cross_realized_usd), 0) AS bucket_cross_realized_usd
    FROM tca_buckets
),
pricing AS (
    SELECT
        string_agg(DISTINCT release_id, '; ' ORDER BY release_id) AS release_id,
        bool_or(in_sample) AS in_sample,
        string_agg(DISTINCT release_status, '; ' ORDER BY release_status) AS release_status
    FROM releases
),
-- every execution of the day, orphans too
landed AS (
    SELECT
        count(*) AS fills,
        count(*) FILTER (WHERE without_mid) AS fills_without_mid,
        count(*) FILTER (WHERE without_start) AS fills_without_start,
        count(*) FILTER (WHERE is_orphan) AS orphan_fills,
        coalesce(sum(notional_usd) FILTER (WHERE is_orphan), 0)::DECIMAL(38, 6) AS orphan_usd
    FROM tca_fills
)
SELECT
    $date::VARCHAR AS date,
    scope,
    name,
    counted.* EXCLUDE (scope, name, fills, fills_without_mid),
    if(scope = 'desk', landed.fills, counted.fills) AS fills,
    if(scope = 'desk', landed.fills_without_mid, counted.fills_without_mid) AS fills_without_mid,
    if(scope = 'desk', fills_without_start, 0) AS fills_without_start,
    if(scope = 'desk', orphan_fills, 0) AS orphan_fills,
    if(scope = 'desk', orphan_usd, 0) AS orphan_usd,
    1e4 * total_usd / nullif(notional_usd, 0) AS total_bps,
    1e4 * self_usd / nullif(notional_usd, 0) AS self_bps,
    1e4 * cross_usd / nullif(notional_usd, 0) AS cross_bps,
    1e4 * timing_usd / nullif(notional_usd, 0) AS timing_bps,
    1e4 * delay_usd / nullif(notional_usd, 0) AS delay_bps,
    1e4 * fees_spread_usd / nullif(notional_usd, 0) AS fees_spread_bps,
    1e4 * cross_realized_usd / nullif(notional_usd, 0) AS cross_realized_bps,
    1e4 * self_now_usd / nullif(notional_usd, 0) AS self_now_bps,
    1e4 * self_own_carried_usd / nullif(notional_usd, 0) AS self_own_carried_bps,
    1e4 * self_sibling_carried_usd / nullif(notional_usd, 0) AS self_sibling_carried_bps,
    1e4 * cross_now_usd / nullif(notional_usd, 0) AS cross_now_bps,
    1e4 * cross_carried_usd / nullif(notional_usd, 0) AS cross_carried_bps,
    1e4 * peers_usd / nullif(notional_usd, 0) AS peers_bps,
    1e4 * market_usd / nullif(notional_usd, 0) AS market_bps,
    1e4 * residual_usd / nullif(notional_usd, 0) AS residual_bps,
    1e4 * delay_self_usd / nullif(notional_usd, 0) AS delay_self_bps,
    1e4 * delay_cross_usd / nullif(notional_usd, 0) AS delay_cross_bps,
    1e4 * delay_peers_usd / nullif(notional_usd, 0) AS delay_peers_bps,
    1e4 * delay_market_usd / nullif(notional_usd, 0) AS delay_market_bps,
    1e4 * delay_residual_usd / nullif(notional_usd, 0) AS delay_residual_bps,
    1e4 * fees_usd / nullif(notional_usd, 0) AS fees_bps,
    1e4 * spread_usd / nullif(notional_usd, 0) AS spread_bps,
    1e4 * opportunity_usd / nullif(notional_usd, 0) AS opportunity_bps,
    1e4 * opportunity_self_usd / nullif(notional_usd, 0) AS opportunity_self_bps,
    1e4 * opportunity_cross_usd / nullif(notional_usd, 0) AS opportunity_cross_bps,
    1e4 * opportunity_peers_usd / nullif(notional_usd, 0) AS opportunity_peers_bps,
    1e4 * opportunity_market_usd / nullif(notional_usd, 0) AS opportunity_market_bps,
    1e4 * opportunity_residual_usd / nullif(notional_usd, 0) AS opportunity_residual_bps,
    1e4 * residual_sd_usd / nullif(notional_usd, 0) AS residual_sd_bps,
    residual_usd / nullif(residual_sd_usd, 0) AS residual_z,
    quantiles.* EXCLUDE (scope, name),
    if(scope = 'desk', bucket_cross_usd, 0) AS bucket_cross_usd,
    if(scope = 'desk', bucket_cross_realized_usd, 0) AS bucket_cross_realized_usd,
    pricing.*
FROM counted
LEFT JOIN scope_noise USING (scope, name)
LEFT JOIN quantiles USING (scope, name)
CROSS JOIN buckets
CROSS JOIN pricing
CROSS JOIN landed
ORDER BY scope, name
