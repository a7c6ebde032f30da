-- grain: symbol quoted on $date whose ADV is known
-- reads: quotes (staged, one date), days (symbol, date, notional), listing (staged file of instruments),
--        sectors (symbol, sector)
-- params: $date, $adv_days [dates], $sector, $tick_size, $lot_size
-- gives: contract table instruments; adv_notional [quote currency] as listed, else the mean over the last $adv_days
--        dates strictly before $date since the symbol first traded, a date without its trades counting as zero
WITH quoted AS (
    SELECT DISTINCT symbol FROM quotes WHERE reason IS NULL
),
dates AS (
    SELECT DISTINCT date FROM days WHERE date < CAST($date AS DATE)
),
since AS (
    SELECT symbol, min(date) AS first_date FROM days GROUP BY symbol
),
past AS (
    SELECT since.symbol, dates.date, coalesce(days.notional, 0) AS notional
    FROM since
    JOIN dates ON dates.date >= since.first_date
    LEFT JOIN days ON days.symbol = since.symbol AND days.date = dates.date
    QUALIFY row_number() OVER (PARTITION BY since.symbol ORDER BY dates.date DESC) <= $adv_days
),
traded AS (
    SELECT symbol, sum(notional)::DOUBLE / count(*) AS adv_notional FROM past GROUP BY symbol
),
-- A listing without dates holds for all; of dated ones the last up to $date.
listed AS (
    SELECT *
    FROM listing
    WHERE reason IS NULL AND coalesce(date, CAST($date AS DATE)) <= CAST($date AS DATE)
    QUALIFY row_number() OVER (
        PARTITION BY symbol ORDER BY date DESC NULLS LAST, source_file DESC, source_row DESC
    ) = 1
)
SELECT
    quoted.symbol,
    coalesce(sectors.sector, listed.sector, $sector) AS sector,
    coalesce(listed.adv_notional, traded.adv_notional) AS adv_notional,
    listed.market_beta,
    coalesce(listed.tick_size, $tick_size)::DOUBLE AS tick_size,
    coalesce(listed.lot_size, $lot_size)::DOUBLE AS lot_size
FROM quoted
LEFT JOIN traded USING (symbol)
LEFT JOIN listed USING (symbol)
LEFT JOIN sectors USING (symbol)
WHERE coalesce(listed.adv_notional, traded.adv_notional) > 0
ORDER BY quoted.symbol
