-- grain: symbol x date
-- reads: $trades (trades.parquet), $snapshots (market_snapshots.parquet)
-- gives: traded_notional [CNY, every print of the source, late and unsigned ones included],
--        is_full_day [both half-day sessions were recorded]
WITH traded AS (
    SELECT symbol, CAST(ts AS DATE) AS date, sum(CAST(notional_cny AS DECIMAL(18, 2))) AS notional
    FROM read_parquet($trades)
    GROUP BY ALL
),
recorded AS (
    SELECT symbol, CAST(ts AS DATE) AS date, count(DISTINCT session) = 2 AS is_full_day
    FROM read_parquet($snapshots)
    GROUP BY ALL
)
SELECT
    symbol,
    date,
    coalesce(traded.notional, 0) AS traded_notional,
    coalesce(recorded.is_full_day, false) AS is_full_day
FROM traded
FULL JOIN recorded USING (symbol, date)
ORDER BY symbol, date
