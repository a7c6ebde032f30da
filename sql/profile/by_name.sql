-- grain: a symbol of the current day's instruments
-- reads: instruments
-- gives: symbol, adv_notional [USD]
SELECT symbol, adv_notional
FROM instruments
WHERE symbol IS NOT NULL AND isfinite(adv_notional) AND adv_notional > 0
QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY file, row) = 1
ORDER BY symbol
