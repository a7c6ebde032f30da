-- grain: pair of symbols x regime that cost the desk anything
-- reads: pairs (what the models say each pair cost, both directions summed, now and carried), hot (days_in_top20 of the
--        last days_seen dates, this one too)
-- gives: usd = now_usd + carried_usd [USD, positive = a cost], leg_usd: half of it, share of all pairs' |usd|,
--        gamma_ij_bps and gamma_ji_bps [bps on the first named per unit of ADV fraction in the second], place (1 = largest
--        |usd|)
SELECT
    row_number() OVER (ORDER BY abs(now_usd + carried_usd) DESC, symbol_i, symbol_j, regime) AS place,
    symbol_i,
    symbol_j,
    sector_i,
    sector_j,
    regime,
    now_usd::DECIMAL(38, 6) AS now_usd,
    carried_usd::DECIMAL(38, 6) AS carried_usd,
    now_usd::DECIMAL(38, 6) + carried_usd::DECIMAL(38, 6) AS usd,
    ((now_usd + carried_usd) / 2)::DECIMAL(38, 6) AS leg_usd,
    abs(now_usd + carried_usd) / nullif(sum(abs(now_usd + carried_usd)) OVER (), 0) AS share,
    gamma_ij AS gamma_ij_bps,
    gamma_ji AS gamma_ji_bps,
    coalesce(days_in_top20, 0) AS days_in_top20,
    coalesce(days_seen, (SELECT max(days_seen) FROM hot), 0) AS days_seen
FROM pairs
LEFT JOIN hot USING (symbol_i, symbol_j)
ORDER BY place
