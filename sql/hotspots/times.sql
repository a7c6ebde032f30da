-- grain: half hour of the day, UTC
-- reads: tca_buckets (several dates)
-- gives: what own flow and other names' flow cost in the buckets that start in it [USD], and the notional executed [USD]
SELECT
    strftime(time_bucket(INTERVAL 30 MINUTE, ts), '%H:%M') AS half_hour,
    sum(self_usd) AS self_usd,
    sum(cross_usd) AS cross_usd,
    sum(gross_usd) AS gross_usd
FROM tca_buckets
GROUP BY half_hour
ORDER BY half_hour
