-- grain: parent order x mark: those the desk gives, and from the book those it does not
-- reads: desk_marks (staged), parent_orders, market_snapshots, book
-- gives: benchmark_marks' columns, is_derived, and why a given mark is left out (reason; null = it lands)
-- DECISION is the parent's own, ARRIVAL the mid at its start (the first of the day for a start before it),
-- INTERVAL_MID the mean mid of its window, CLOSE the day's last mid; no mark is made of a book that was too old.
WITH given AS (
    SELECT
        desk_marks.order_id,
        mark,
        ts,
        px,
        CASE
            WHEN reason IS NOT NULL THEN reason
            WHEN parent_orders.order_id IS NULL THEN 'no_order'
        END AS reason
    FROM desk_marks
    LEFT JOIN (SELECT DISTINCT order_id FROM parent_orders) AS parent_orders USING (order_id)
),
closes AS (
    SELECT symbol, max(ts) AS ts, arg_max(mid, ts) AS px FROM book GROUP BY symbol
),
parents AS (
    SELECT *
    FROM parent_orders
    QUALIFY row_number() OVER (PARTITION BY order_id ORDER BY start_ts) = 1
),
derived AS (
    SELECT order_id, 'DECISION' AS mark, decision_ts AS ts, decision_px AS px FROM parents
    UNION ALL
    SELECT order_id, 'ARRIVAL', start_ts, if(start_ts <= good_until, mid, NULL)
    FROM parents
    ASOF JOIN book ON parents.symbol = book.symbol AND parents.start_ts >= book.ts
    UNION ALL
    SELECT order_id, 'INTERVAL_MID', any_value(end_ts), avg(mid)
    FROM parents
    JOIN book ON parents.symbol = book.symbol AND book.ts BETWEEN start_ts AND end_ts
    GROUP BY order_id
    UNION ALL
    SELECT order_id, 'CLOSE', closes.ts, px FROM parents JOIN closes USING (symbol)
)
SELECT order_id, mark, ts, px, false AS is_derived, reason FROM given
UNION ALL
SELECT order_id, mark, ts, px, true, NULL
FROM derived
ANTI JOIN (SELECT order_id, mark FROM given WHERE reason IS NULL) AS known USING (order_id, mark)
WHERE px IS NOT NULL
ORDER BY order_id, mark, ts
