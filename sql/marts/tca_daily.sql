-- grain: the date
-- reads: tca_orders, tca_buckets, tca_fills, releases
-- params: $date
-- gives: the desk's shortfall and its five parts [USD, exact sums of tca_orders; bps of notional_usd], the bucket
--        view of cross impact [USD], and counts of what the numbers rest on
WITH parents AS (
    SELECT
        count(*) AS parents,
        count(*) FILTER (WHERE filled_qty > 0) AS parents_filled,
        coalesce(sum(notional_usd), 0) AS notional_usd,
        coalesce(sum(filled_usd), 0) AS filled_usd,
        coalesce(sum(total_usd), 0) AS total_usd,
        coalesce(sum(self_usd), 0) AS self_usd,
        coalesce(sum(cross_realized_usd), 0) AS cross_realized_usd,
        coalesce(sum(delay_usd), 0) AS delay_usd,
        coalesce(sum(fees_spread_usd), 0) AS fees_spread_usd,
        coalesce(sum(opportunity_usd), 0) AS opportunity_usd,
        coalesce(sum(cross_usd), 0) AS cross_usd,
        coalesce(sum(self_now_usd), 0) AS self_now_usd,
        coalesce(sum(self_own_carried_usd), 0) AS self_own_carried_usd,
        coalesce(sum(cross_now_usd), 0) AS cross_now_usd,
        coalesce(sum(cross_carried_usd), 0) AS cross_carried_usd,
        coalesce(sum(peers_usd), 0) AS peers_usd,
        coalesce(sum(residual_usd), 0) AS residual_usd,
        count(*) FILTER (WHERE arrival_from = 'decision') AS arrivals_from_decision,
        count(*) FILTER (WHERE close_from = 'last snapshot') AS closes_from_snapshot,
        count(*) FILTER (WHERE close_from = 'decision') AS closes_from_decision
    FROM tca_orders
),
buckets AS (
    SELECT
        coalesce(sum(cross_realized_usd), 0) AS bucket_cross_realized_usd,
        coalesce(sum(cross_usd), 0) AS bucket_cross_usd
    FROM tca_buckets
),
pricing AS (
    SELECT
        string_agg(DISTINCT release_id, '; ' ORDER BY release_id) AS release_id,
        bool_or(in_sample) AS in_sample,
        string_agg(DISTINCT release_status, '; ' ORDER BY release_status) AS release_status
    FROM releases
),
fills AS (
    SELECT
        count(*) AS fills,
        count(*) FILTER (WHERE without_mid) AS fills_without_mid,
        count(*) FILTER (WHERE without_start) AS fills_without_start,
        count(*) FILTER (WHERE is_orphan) AS orphan_fills,
        coalesce(round(sum(notional_usd) FILTER (WHERE is_orphan), 6), 0)::DECIMAL(38, 6) AS orphan_usd
    FROM tca_fills
)
SELECT
    $date::VARCHAR AS date,
    'desk' AS scope,
    '' AS name,
    pricing.*,
    parents.*,
    1e4 * total_usd / nullif(notional_usd, 0) AS total_bps,
    1e4 * self_usd / nullif(notional_usd, 0) AS self_bps,
    1e4 * cross_realized_usd / nullif(notional_usd, 0) AS cross_realized_bps,
    1e4 * delay_usd / nullif(notional_usd, 0) AS delay_bps,
    1e4 * fees_spread_usd / nullif(notional_usd, 0) AS fees_spread_bps,
    1e4 * opportunity_usd / nullif(notional_usd, 0) AS opportunity_bps,
    1e4 * cross_usd / nullif(notional_usd, 0) AS cross_bps,
    1e4 * self_now_usd / nullif(notional_usd, 0) AS self_now_bps,
    1e4 * self_own_carried_usd / nullif(notional_usd, 0) AS self_own_carried_bps,
    1e4 * cross_now_usd / nullif(notional_usd, 0) AS cross_now_bps,
    1e4 * cross_carried_usd / nullif(notional_usd, 0) AS cross_carried_bps,
    1e4 * peers_usd / nullif(notional_usd, 0) AS peers_bps,
    1e4 * residual_usd / nullif(notional_usd, 0) AS residual_bps,
    buckets.*,
    fills.*
FROM parents, buckets, fills, pricing
