-- grain: an execution that differs from another only in price and the last part of its id
-- reads: child_fills
-- gives: file, row
-- Some brokers number corrections so (X.01, X.02). Without exec_type they are read as two executions.
WITH twins AS (
    SELECT order_id, fill_ts
    FROM child_fills
    GROUP BY order_id, fill_ts
    HAVING count(*) > 1 AND min(fill_px) <> max(fill_px)
),

parts AS (
    SELECT
        child_fills.*,
        regexp_extract(fill_id, '^(.*[._-])[^._-]+$', 1) AS series
    FROM child_fills
    SEMI JOIN twins USING (order_id, fill_ts)
    WHERE coalesce(exec_type, 'NEW') = 'NEW'
)

SELECT file, row
FROM parts
WHERE series <> ''
QUALIFY min(fill_px) OVER (
    PARTITION BY order_id, venue, symbol, side, fill_ts, fill_qty, series
) <> max(fill_px) OVER (
    PARTITION BY order_id, venue, symbol, side, fill_ts, fill_qty, series
)
