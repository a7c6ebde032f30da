-- grain: a booked order, over all dates until this one
-- reads: tca_orders, earlier_orders (tca_orders of the dates before with their date, of orders carried in), booked_parents
-- params: $date, $dates (analysable dates until this one)
-- gives: sums over the order's dates [USD, exact micro-dollars; bps of notional_usd]; a date on which it was alive and that was
--        not analysed is named by status dates_missing
WITH every AS (
    SELECT * EXCLUDE (date) FROM earlier_orders SEMI JOIN booked_parents USING (order_id)
    UNION ALL BY NAME
    SELECT * FROM tca_orders
),
summed AS (
    SELECT
        order_id,
        count(*) AS dates,
        sum(filled_qty) AS filled_qty,
        string_agg(DISTINCT nullif(status, 'ok'), '; ' ORDER BY nullif(status, 'ok')) AS told,
        sum(COLUMNS('(notional|filled|total|self|cross|timing|delay|fees|spread|opportunity|peers|market|residual).*_usd'))
    FROM every
    GROUP BY order_id
)
SELECT
    summed.* EXCLUDE (told),
    tca_orders.basket_id,
    tca_orders.symbol,
    tca_orders.side,
    tca_orders.first_date,
    $date::VARCHAR AS last_date,
    tca_orders.is_open,
    tca_orders.parent_qty,
    coalesce(
        nullif(
            concat_ws(
                '; ',
                told,
                if(dates < len(list_filter($dates, lambda day: day >= tca_orders.first_date)), 'dates_missing', NULL)
            ),
            ''
        ),
        'ok'
    ) AS status,
    1e4 * summed.total_usd / nullif(summed.notional_usd, 0) AS total_bps,
    1e4 * summed.self_usd / nullif(summed.notional_usd, 0) AS self_bps,
    1e4 * summed.cross_usd / nullif(summed.notional_usd, 0) AS cross_bps,
    1e4 * summed.timing_usd / nullif(summed.notional_usd, 0) AS timing_bps,
    1e4 * summed.delay_usd / nullif(summed.notional_usd, 0) AS delay_bps,
    1e4 * summed.fees_spread_usd / nullif(summed.notional_usd, 0) AS fees_spread_bps,
    1e4 * summed.opportunity_usd / nullif(summed.notional_usd, 0) AS opportunity_bps
FROM summed
INNER JOIN tca_orders USING (order_id)
ORDER BY order_id
