-- grain: symbol recorded on $date that has at least one full day before it
-- reads: days
-- gives: contract table instruments; adv_notional [CNY at par, mean over the last
--        $adv_days full days strictly before $date, so nothing of $date or later enters]
WITH past AS (
    SELECT symbol, traded_notional
    FROM days
    WHERE is_full_day AND date < CAST($date AS DATE)
    QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY date DESC) <= $adv_days
),
averaged AS (
    SELECT symbol, CAST(sum(traded_notional) AS DOUBLE) / count(*) AS adv_notional
    FROM past
    GROUP BY symbol
)
SELECT
    symbol,
    'ALL' AS sector,
    adv_notional,
    CAST(NULL AS DOUBLE) AS market_beta,
    CAST(0.01 AS DOUBLE) AS tick_size,
    CAST(100 AS DOUBLE) AS lot_size
FROM days
JOIN averaged USING (symbol)
WHERE date = CAST($date AS DATE) AND adv_notional > 0
ORDER BY symbol
