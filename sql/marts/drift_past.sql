-- grain: date x regime x statistic, one date per week
-- reads: drift_evidence (partitions of several dates)
-- params: $release, $monday [date]
-- gives: the p-values of the release's weeks before the one of $monday; of several looks at one week the last counts
SELECT date, regime, statistic, p
FROM drift_evidence
WHERE release = $release AND date < $monday
QUALIFY date = max(date) OVER (PARTITION BY date_trunc('week', date))
ORDER BY date, regime, statistic
