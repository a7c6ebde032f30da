-- grain: name, those whose orders cost most over a week
-- reads: tca_daily (several dates)
-- gives: its shortfall, own and cross impact [USD; bps of the notional ordered], and on how many dates it was traded
SELECT
    name,
    sum(total_usd) AS total_usd,
    sum(self_usd) AS self_usd,
    sum(cross_usd) AS cross_usd,
    sum(notional_usd) AS notional_usd,
    1e4 * sum(total_usd) / nullif(sum(notional_usd), 0) AS total_bps,
    count(*) AS days
FROM tca_daily
WHERE scope = 'symbol'
GROUP BY name
ORDER BY sum(total_usd) DESC, name
LIMIT 15
