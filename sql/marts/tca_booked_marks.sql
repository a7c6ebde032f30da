-- grain: a booked order with a mark
-- reads: accepted_marks, refused_marks (partitions of several dates), booked_parents
-- params: $date, $mark_rules (what a mark may have broken)
-- gives: of the order's marks: arrival_mark_px, arrival_mark_ts; of those landed on the date: close_mark_px,
--        close_mark_ts, interval_mid_px
WITH every AS (
    SELECT date, order_id, mark, ts, px FROM accepted_marks
    UNION ALL
    SELECT
        date,
        record ->> '$.order_id',
        record ->> '$.mark',
        try_cast(record ->> '$.ts' AS TIMESTAMPTZ),
        try_cast(record ->> '$.px' AS DOUBLE)
    FROM refused_marks
    WHERE list_has_all($mark_rules, rules)
)
SELECT
    order_id,
    max(px) FILTER (WHERE mark = 'ARRIVAL') AS arrival_mark_px,
    arg_max(ts, px) FILTER (WHERE mark = 'ARRIVAL') AS arrival_mark_ts,
    max(px) FILTER (WHERE mark = 'CLOSE' AND date = $date::DATE) AS close_mark_px,
    arg_max(ts, px) FILTER (WHERE mark = 'CLOSE' AND date = $date::DATE) AS close_mark_ts,
    max(px) FILTER (WHERE mark = 'INTERVAL_MID' AND date = $date::DATE) AS interval_mid_px
FROM every
SEMI JOIN booked_parents USING (order_id)
GROUP BY order_id
