-- grain: unordered pair of sectors
-- reads: tca_pairs (several dates)
-- gives: what their names cost each other [USD, positive = a cost]
SELECT
    least(sector_i, sector_j) AS sector_i,
    greatest(sector_i, sector_j) AS sector_j,
    sum(usd) AS usd
FROM tca_pairs
GROUP BY ALL
ORDER BY abs(sum(usd)) DESC, sector_i, sector_j
