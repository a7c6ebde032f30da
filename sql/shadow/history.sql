-- grain: one row
-- reads: buckets (features of the dates asked)
-- params: $buckets (of a session), $share
-- gives: participation: own flow over an average bucket's volume at or below which $share of the notional was traded;
--        null where nothing was
WITH traded AS (
    SELECT abs(q_adv) * $buckets AS participation, sum(abs(q_usd)) AS usd
    FROM buckets
    WHERE q_adv <> 0
    GROUP BY participation
),
summed AS (
    SELECT participation, sum(usd) OVER (ORDER BY participation) AS so_far, sum(usd) OVER () AS total
    FROM traded
)
SELECT min(participation) AS participation
FROM summed
WHERE so_far >= $share * total
