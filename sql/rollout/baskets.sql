-- grain: a basket x date; an order without one is a basket of its own
-- reads: tca_orders, instruments (accepted), shadow_baskets (partitions of several dates, the last of fewer)
-- gives: notional_usd ordered, is_bps of it (positive = worse), orders that met a cross cost by the model (bad_fills)
--        and that cost (bad_fill_usd), participation [filled over the ADV's even share of the orders' lives, 390
--        minutes a day], completion [filled over ordered], the controls market_bps, spread_bps, other_expected_bps of
--        what was executed (null without a shadow), and spans: a basket with an order that is not of this date alone
WITH lived AS (
    SELECT
        tca_orders.*,
        coalesce(basket_id, order_id) AS basket,
        adv_notional * greatest(date_diff('second', decision_ts, end_ts), 60) / (390 * 60.0) AS expected_usd
    FROM tca_orders
    LEFT JOIN instruments USING (date, symbol)
),
baskets AS (
    SELECT
        date,
        basket AS basket_id,
        min(decision_ts) AS start_ts,
        sum(notional_usd)::DOUBLE AS notional_usd,
        (1e4 * sum(total_usd) / nullif(sum(notional_usd), 0))::DOUBLE AS is_bps,
        (count(*) FILTER (WHERE cross_usd > 0))::DOUBLE AS bad_fills,
        sum(greatest(cross_usd, 0))::DOUBLE AS bad_fill_usd,
        coalesce(sum(filled_usd)::DOUBLE / nullif(sum(expected_usd), 0), 0) AS participation,
        coalesce(sum(filled_qty * decision_px) / nullif(sum(parent_qty * decision_px), 0), 0) AS completion,
        bool_or(coalesce(is_open, false) OR coalesce(first_date::DATE, date) <> date) AS spans
    FROM lived
    GROUP BY date, basket
),
controls AS (
    SELECT date::DATE AS date, basket_id, market_bps, spread_bps, other_expected_bps, status
    FROM shadow_baskets
    WHERE policy = 'executed' AND judge = 'independent'
)
SELECT
    date,
    basket_id,
    start_ts,
    notional_usd,
    is_bps,
    market_bps,
    spread_bps,
    other_expected_bps,
    bad_fills,
    bad_fill_usd,
    participation,
    completion,
    spans OR coalesce(status = 'spans days', false) AS spans
FROM baskets
LEFT JOIN controls USING (date, basket_id)
ORDER BY date, start_ts, basket_id
