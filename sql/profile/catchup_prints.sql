-- grain: a print of more than $times its name's median quantity and 1% of its ADV
-- reads: public_trades, instruments
-- gives: symbol, ts_us [us], multiple
WITH usual AS (
    SELECT symbol, median(qty) AS qty
    FROM public_trades
    WHERE isfinite(qty) AND qty > 0
    GROUP BY symbol
)

SELECT prints.symbol, epoch_us(ts) AS ts_us, prints.qty / usual.qty AS multiple
FROM public_trades AS prints
INNER JOIN usual USING (symbol)
INNER JOIN instruments USING (symbol)
WHERE isfinite(prints.qty)
    AND prints.qty > $times * usual.qty
    AND prints.qty * px > 0.01 * adv_notional
ORDER BY prints.symbol, ts
