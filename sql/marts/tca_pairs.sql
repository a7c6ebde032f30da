-- grain: pair of symbols x regime, the day's most expensive or most helpful
-- reads: pairs (what the models say each pair cost, both directions summed)
-- gives: usd [USD, positive = a cost], gamma_ij_bps and gamma_ji_bps [bps on the first named per unit of ADV fraction
--        in the second], place (1 = largest |usd|)
SELECT
    (row_number() OVER (ORDER BY abs(usd) DESC, symbol_i, symbol_j, regime))::INTEGER AS place,
    symbol_i,
    symbol_j,
    sector_i,
    sector_j,
    regime,
    usd::DECIMAL(38, 6) AS usd,
    gamma_ij AS gamma_ij_bps,
    gamma_ji AS gamma_ji_bps
FROM pairs
ORDER BY place
