-- grain: the current day
-- reads: instruments
-- gives: digest of its rows, whatever their order
SELECT
    md5(
        coalesce(
            string_agg(
                concat_ws('|', symbol, sector, adv_notional, market_beta, tick_size, lot_size),
                ';' ORDER BY symbol, adv_notional
            ),
            ''
        )
    ) AS digest
FROM instruments
