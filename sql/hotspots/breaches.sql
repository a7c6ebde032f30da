-- grain: rule of the desk
-- reads: tca_breaches (several dates)
-- gives: how often it was broken, on how many dates, and the modelled cost [USD]
SELECT
    rule,
    count(*) AS times,
    count(DISTINCT tca_breaches.date) AS days,
    sum(cost_usd) AS cost_usd
FROM tca_breaches
GROUP BY rule
ORDER BY rule
