-- grain: source row of market_snapshots.parquet on $date (symbol x 3 s tick)
-- reads: $snapshots, $trades, instruments
-- gives: the row in contract units, why it is left out (reason; null = it lands), and what a print
--        at this tick may be trusted for: has_previous_mid (its side was inferred from a mid),
--        is_thaw (first tick after a frozen stretch: a print here is the outage's whole turnover)
WITH source AS (
    SELECT symbol, ts, session, bid_px, ask_px, bid_size, ask_size, bid_size_frac, ask_size_frac
    FROM read_parquet($snapshots)
    WHERE ts >= CAST($date AS DATE) AND ts < CAST($date AS DATE) + INTERVAL 1 DAY
),
traded AS (
    SELECT DISTINCT symbol, ts
    FROM read_parquet($trades)
    WHERE ts >= CAST($date AS DATE) AND ts < CAST($date AS DATE) + INTERVAL 1 DAY
),
-- size_frac is size / share capital; the provider gives no capital for these two names, but
-- these integers make every one of their sizes a whole number of shares (see docs/ingest.md)
capital (symbol, shares) AS (VALUES ('S1', 34798398763), ('S4', 5168285026)),
ticks AS (
    SELECT
        source.*,
        coalesce(bid_size, round(bid_size_frac * shares)) AS bid_shares,
        coalesce(ask_size, round(ask_size_frac * shares)) AS ask_shares,
        coalesce(bid_px, 0) > 0 AND coalesce(ask_px, 0) > 0 AS is_two_sided,
        row(bid_px, ask_px, bid_size, ask_size, bid_size_frac, ask_size_frac) AS quote,
        traded.ts IS NOT NULL AS has_print
    FROM source
    LEFT JOIN capital USING (symbol)
    LEFT JOIN traded USING (symbol, ts)
),
stretches AS (
    SELECT
        *,
        count(*) FILTER (has_print OR is_first OR quote IS DISTINCT FROM previous_quote)
            OVER (PARTITION BY symbol, session ORDER BY ts ROWS UNBOUNDED PRECEDING) AS stretch
    FROM (
        SELECT
            *,
            lag(quote) OVER session_ticks AS previous_quote,
            row_number() OVER session_ticks = 1 AS is_first,
            coalesce(lag(is_two_sided) OVER session_ticks, false) AS has_previous_mid
        FROM ticks
        WINDOW session_ticks AS (PARTITION BY symbol, session ORDER BY ts)
    )
),
aged AS (
    SELECT
        *,
        min(ts) OVER (PARTITION BY symbol, session, stretch) AS since,
        max(ts) OVER (PARTITION BY symbol, session, stretch) > since + to_seconds($stale_s)
            AS is_frozen
    FROM stretches
)
SELECT
    aged.symbol,
    timezone($time_zone, ts) AS ts,
    bid_px,
    ask_px,
    CAST(bid_shares AS DOUBLE) AS bid_size,
    CAST(ask_shares AS DOUBLE) AS ask_size,
    has_previous_mid,
    ts = since
        AND coalesce(lag(is_frozen) OVER (PARTITION BY aged.symbol, session ORDER BY ts), false)
        AS is_thaw,
    CASE
        WHEN instruments.symbol IS NULL THEN 'no_adv'
        WHEN NOT is_two_sided THEN 'one_sided_book'
        WHEN is_frozen AND ts > since THEN 'frozen_quote'
        WHEN bid_shares IS NULL OR ask_shares IS NULL THEN 'size_unknown'
    END AS reason
FROM aged
LEFT JOIN instruments ON instruments.symbol = aged.symbol
ORDER BY aged.symbol, ts
