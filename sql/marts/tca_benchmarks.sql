-- grain: an order with a fill on the date
-- reads: struck, booked_fills, market_snapshots, public_trades (accepted, one date), buckets (features)
-- params: $max_age_s [s]
-- gives: of the prints from arrival to last fill vwap_px, volume [shares] and rpm: the share of it at worse prices than the
--        order's, half of equal ones; pwp10_px: the VWAP of the prints since arrival until ten times the order's
--        size had traded; twap_px: the mean of the mids from arrival to last fill; spread_arrival_bps and vol_bps at the
--        arrival; mid_end, mid_30min, mid_60min: the mid at the last fill and after it, none older than $max_age_s
WITH worked AS (
    SELECT
        order_id,
        sum(fill_qty) AS filled_qty,
        sum(fill_qty * fill_px) / sum(fill_qty) AS average_px
    FROM booked_fills
    GROUP BY order_id
),
spans AS (
    SELECT order_id, symbol, side, arrival_ts, last_fill_ts, filled_qty, average_px
    FROM struck
    INNER JOIN worked USING (order_id)
),
-- everything up to a time, so that a span is the difference of two
traded AS (
    SELECT
        symbol,
        ts,
        sum(qty) OVER upto AS volume,
        sum(qty * px) OVER upto AS paid
    FROM public_trades
    WINDOW upto AS (PARTITION BY symbol ORDER BY ts, px, qty ROWS UNBOUNDED PRECEDING)
),
tape AS (
    SELECT symbol, ts, max(volume) AS volume, max(paid) AS paid FROM traded GROUP BY symbol, ts
),
mids AS (
    SELECT
        symbol,
        ts,
        (bid_px + ask_px) / 2 AS mid,
        1e4 * (ask_px - bid_px) / mid AS spread_bps,
        sum(mid) OVER upto AS summed,
        row_number() OVER upto AS n
    FROM market_snapshots
    WINDOW upto AS (PARTITION BY symbol ORDER BY ts ROWS UNBOUNDED PRECEDING)
),
printed AS (
    SELECT
        spans.order_id,
        spans.symbol,
        coalesce(before.volume, 0) AS volume_before,
        coalesce(before.paid, 0) AS paid_before,
        nullif(until.volume - volume_before, 0) AS traded_volume,
        (until.paid - paid_before) / traded_volume AS vwap_px,
        volume_before + 10 * filled_qty AS wanted
    FROM spans
    ASOF LEFT JOIN tape AS before ON spans.symbol = before.symbol AND spans.arrival_ts > before.ts
    ASOF LEFT JOIN tape AS until ON spans.symbol = until.symbol AND spans.last_fill_ts >= until.ts
),
-- the first print by which so much had traded; none when the day had less
filled_up AS (
    SELECT printed.order_id, (reached.paid - paid_before) / (reached.volume - volume_before) AS pwp10_px
    FROM printed
    ASOF INNER JOIN tape AS reached ON printed.symbol = reached.symbol AND printed.wanted <= reached.volume
),
ranked AS (
    SELECT
        order_id,
        sum(qty * CASE
            WHEN abs(px - average_px) <= 1e-9 * average_px THEN 0.5
            WHEN (px > average_px) = (side = 'BUY') THEN 1
            ELSE 0
        END) / sum(qty) AS rpm
    FROM spans
    INNER JOIN public_trades
        ON spans.symbol = public_trades.symbol AND ts BETWEEN arrival_ts AND last_fill_ts
    GROUP BY order_id
),
quoted AS (
    SELECT
        spans.order_id,
        if(arrival_ts - begun.ts <= to_seconds($max_age_s), begun.spread_bps, NULL) AS spread_arrival_bps,
        (done.summed - coalesce(begun.summed - begun.mid, 0)) / nullif(done.n - coalesce(begun.n - 1, 0), 0) AS twap_px,
        if(last_fill_ts - done.ts <= to_seconds($max_age_s), done.mid, NULL) AS mid_end
    FROM spans
    ASOF LEFT JOIN mids AS begun ON spans.symbol = begun.symbol AND spans.arrival_ts >= begun.ts
    ASOF LEFT JOIN mids AS done ON spans.symbol = done.symbol AND spans.last_fill_ts >= done.ts
),
after AS (
    SELECT order_id, symbol, minutes, last_fill_ts + to_minutes(minutes) AS then_ts
    FROM spans, (SELECT unnest([30, 60]) AS minutes)
),
reverted AS (
    SELECT
        order_id,
        max(mid) FILTER (WHERE minutes = 30) AS mid_30min,
        max(mid) FILTER (WHERE minutes = 60) AS mid_60min
    FROM after
    ASOF INNER JOIN mids ON after.symbol = mids.symbol AND after.then_ts >= mids.ts
    WHERE then_ts - ts <= to_seconds($max_age_s)
    GROUP BY order_id
),
moods AS (
    SELECT order_id, vol_bps
    FROM spans
    ASOF INNER JOIN buckets ON spans.symbol = buckets.symbol AND spans.arrival_ts >= buckets.ts
)
SELECT
    order_id,
    vwap_px,
    traded_volume AS volume,
    rpm,
    pwp10_px,
    twap_px,
    spread_arrival_bps,
    vol_bps,
    mid_end,
    mid_30min,
    mid_60min
FROM spans
LEFT JOIN printed USING (order_id)
LEFT JOIN filled_up USING (order_id)
LEFT JOIN ranked USING (order_id)
LEFT JOIN quoted USING (order_id)
LEFT JOIN reverted USING (order_id)
LEFT JOIN moods USING (order_id)
ORDER BY order_id
