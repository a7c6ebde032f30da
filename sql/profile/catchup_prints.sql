-- grain: a print of more than $times its name's median quantity and 1% of its ADV
-- reads: public_trades, instruments
-- gives: symbol, ts_us [us], multiple
WITH large AS (
    SELECT prints.symbol, epoch_us(ts) AS ts_us, prints.qty
    FROM public_trades AS prints
    INNER JOIN instruments USING (symbol)
    WHERE isfinite(prints.qty) AND prints.qty * px > 0.01 * adv_notional
),

usual AS (
    SELECT symbol, median(qty) AS qty
    FROM public_trades
    SEMI JOIN large USING (symbol)
    WHERE isfinite(qty) AND qty > 0
    GROUP BY symbol
)

SELECT large.symbol, ts_us, large.qty / usual.qty AS multiple
FROM large
INNER JOIN usual USING (symbol)
WHERE large.qty > $times * usual.qty
ORDER BY large.symbol, ts_us
