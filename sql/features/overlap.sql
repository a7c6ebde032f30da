-- grain: unordered pair of symbols traded in the same bucket
-- reads: buckets (feature partition of one date)
-- gives: n_buckets traded together, n_same_side of them, q2_adv = sum of |q_i q_j| [ADV fraction squared]
WITH traded AS (
    SELECT ts, symbol, q_adv FROM buckets WHERE q_adv <> 0
)
SELECT
    a.symbol AS symbol_i,
    b.symbol AS symbol_j,
    count(*) AS n_buckets,
    count(*) FILTER (WHERE a.q_adv * b.q_adv > 0) AS n_same_side,
    sum(abs(a.q_adv * b.q_adv)) AS q2_adv
FROM traded AS a
JOIN traded AS b ON a.ts = b.ts AND a.symbol < b.symbol
GROUP BY ALL
ORDER BY symbol_i, symbol_j
