-- grain: unordered pair of names, the dearest and the most helpful of a week
-- reads: tca_pairs (several dates)
-- gives: what they cost each other over the dates [USD, positive = a cost], on how many they were met and were among the 20
--        largest of the date
SELECT
    symbol_i,
    symbol_j,
    any_value(sector_i) AS sector_i,
    any_value(sector_j) AS sector_j,
    sum(usd) AS usd,
    sum(now_usd) AS now_usd,
    sum(carried_usd) AS carried_usd,
    count(DISTINCT tca_pairs.date) AS days,
    count(DISTINCT tca_pairs.date) FILTER (WHERE place <= 20) AS days_in_top20
FROM tca_pairs
GROUP BY symbol_i, symbol_j
ORDER BY abs(sum(usd)) DESC, symbol_i, symbol_j
LIMIT 20
