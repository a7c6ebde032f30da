-- grain: staged parent order of one date
-- reads: orders (staged), instruments, book
-- params: $close
-- gives: parent_orders' columns and why the order is left out (reason; null = it lands)
-- Not given: the decision falls on the start or the other way round, the window ends with the session, the decision's
-- price is the mid then (the first of the day for a decision before it), the notional is quantity x that price.
WITH timed AS (
    SELECT
        * REPLACE (
            coalesce(decision_ts, start_ts) AS decision_ts,
            coalesce(start_ts, decision_ts) AS start_ts,
            coalesce(end_ts, $close) AS end_ts
        )
    FROM orders
),
priced AS (
    SELECT
        timed.* REPLACE (coalesce(decision_px, if(decision_ts <= good_until, mid, NULL)) AS decision_px),
        instruments.symbol IS NOT NULL AS is_known
    FROM timed
    LEFT JOIN instruments ON timed.symbol = instruments.symbol
    ASOF LEFT JOIN book ON timed.symbol = book.symbol AND timed.decision_ts >= book.ts
)
SELECT
    order_id,
    basket_id,
    symbol,
    side,
    parent_qty,
    coalesce(parent_notional, parent_qty * decision_px) AS parent_notional,
    decision_ts,
    decision_px,
    start_ts,
    end_ts,
    alpha_bps,
    CASE
        WHEN reason IS NOT NULL THEN reason
        WHEN NOT is_known THEN 'no_instrument'
        WHEN decision_px IS NULL THEN 'no_book_at_decision'
    END AS reason,
    source_file,
    source_row
FROM priced
ORDER BY order_id, source_file, source_row
