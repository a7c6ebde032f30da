-- grain: an order a row of the current day may name: its own, or one of the trading dates before it
-- reads: parent_orders, earlier_parents
-- gives: order_id, symbol, side, parent_qty, decision_ts, start_ts, end_ts, is_earlier, is_refused
-- Of orders with one id the first counts, the day's own before earlier ones, the latest date of those.
-- What is invalid in an order is null here: it says nothing of its fills.
CREATE OR REPLACE TABLE orders AS
WITH every AS (
    SELECT
        order_id,
        symbol,
        side,
        parent_qty,
        decision_ts,
        start_ts,
        end_ts,
        file,
        row,
        NULL::DATE AS date,
        false AS is_refused
    FROM parent_orders
    UNION ALL
    SELECT
        order_id,
        symbol,
        side,
        parent_qty,
        decision_ts,
        start_ts,
        end_ts,
        file,
        row,
        date,
        is_refused
    FROM earlier_parents
),

first_ones AS (
    SELECT
        *,
        coalesce(decision_ts <= start_ts AND start_ts < end_ts, false) AS is_ordered
    FROM every
    WHERE order_id IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY order_id ORDER BY date DESC NULLS FIRST, file, row) = 1
)

SELECT
    order_id,
    if(regexp_full_match(symbol, '^[A-Z0-9][A-Z0-9._-]{0,23}$'), symbol, NULL) AS symbol,
    if(side IN ('BUY', 'SELL'), side, NULL) AS side,
    if(isfinite(parent_qty), parent_qty, NULL) AS parent_qty,
    if(is_ordered, decision_ts, NULL) AS decision_ts,
    if(is_ordered, start_ts, NULL) AS start_ts,
    if(is_ordered, end_ts, NULL) AS end_ts,
    date IS NOT NULL AS is_earlier,
    is_refused
FROM first_ones
