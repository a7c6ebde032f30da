-- grain: desk_daily: the date; predicted_orders: an order that was predicted before it was traded
-- reads: tca_daily, tca_orders, pretrade
-- gives: two views. desk_daily is the desk's rows of tca_daily. predicted_orders holds the last prediction made before an
--        order's decision, as planned (urgency low) in the regime it met, against what it cost in all, and the difference
--        (surprise) [USD, bps of notional_usd]
CREATE VIEW desk_daily AS
SELECT * FROM tca_daily WHERE scope = 'desk' ORDER BY tca_daily.date;

CREATE VIEW predicted_orders AS
WITH asked AS (
    SELECT
        orders.date,
        orders.order_id,
        orders.symbol,
        orders.side,
        orders.regime,
        orders.notional_usd,
        orders.filled_usd,
        predicted.prediction,
        predicted.predicted_at,
        predicted.release_id,
        predicted.total_usd AS expected_usd,
        predicted.low_usd,
        predicted.high_usd,
        orders.total_usd AS realized_usd,
        orders.residual_sd_bps,
        row_number() OVER (
            PARTITION BY orders.date, orders.order_id ORDER BY predicted.predicted_at DESC
        ) AS place
    FROM tca_orders AS orders
    JOIN pretrade AS predicted
        ON predicted.order_id = orders.order_id
        AND predicted.symbol = orders.symbol
        AND predicted.regime = orders.regime
        AND predicted.urgency = 'low'
        AND predicted.predicted_at <= orders.decision_ts
)
SELECT
    * EXCLUDE (place),
    realized_usd - expected_usd AS surprise_usd,
    1e4 * (realized_usd - expected_usd) / nullif(notional_usd, 0) AS surprise_bps
FROM asked
WHERE place = 1
ORDER BY asked.date, asked.order_id;
