-- grain: source row of trades.parquet on $date (symbol x 3 s tick with turnover)
-- reads: $trades, instruments, book
-- gives: the row in contract units and why it is left out (reason; null = it lands)
WITH source AS (
    SELECT symbol, ts, px, qty, aggressor_side, suspect_catchup
    FROM read_parquet($trades)
    WHERE ts >= CAST($date AS DATE) AND ts < CAST($date AS DATE) + INTERVAL 1 DAY
),
ticks AS (
    SELECT
        symbol,
        ts,
        bool_and(has_previous_mid) AS has_previous_mid,
        bool_or(is_thaw) AS is_thaw
    FROM book
    GROUP BY ALL
)
SELECT
    source.symbol,
    timezone($time_zone, source.ts) AS ts,
    px,
    CAST(qty AS DOUBLE) AS qty,
    CAST(aggressor_side AS BIGINT) AS aggressor_side,
    CASE
        WHEN instruments.symbol IS NULL THEN 'no_adv'
        WHEN is_thaw THEN 'after_freeze'
        WHEN suspect_catchup THEN 'suspect_catchup'
        WHEN NOT coalesce(has_previous_mid, false) THEN 'no_previous_mid'
    END AS reason
FROM source
LEFT JOIN instruments ON instruments.symbol = source.symbol
LEFT JOIN ticks
    ON ticks.symbol = source.symbol AND ticks.ts = timezone($time_zone, source.ts)
ORDER BY source.symbol, source.ts, px, qty, aggressor_side
