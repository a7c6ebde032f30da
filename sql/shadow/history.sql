-- grain: one row
-- reads: buckets (features of the dates asked)
-- params: $buckets (of a session), $quantile
-- gives: participation: the quantile of own flow over an average bucket's volume, of the buckets and names traded;
--        null where nothing was
SELECT quantile_cont(abs(q_adv) * $buckets, $quantile) AS participation
FROM buckets
WHERE q_adv <> 0
