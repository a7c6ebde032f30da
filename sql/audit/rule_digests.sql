-- grain: what a rule has said, by its digest
-- reads: entries
-- params: $rule, $of_table (empty for all)
-- gives: name (table.rule), digest, first run and moment that judged by it, contract_version, entries that did
WITH said AS (
    SELECT seq, run, moment, contract_version, unnest(rules, recursive := true) FROM entries
)
SELECT
    rule AS name,
    digest,
    arg_min(run, moment) AS first_run,
    min(moment) AS first_at,
    min(contract_version) AS contract_version,
    count(*) AS entries
FROM said
WHERE
    rule.regexp_replace('^[a-z_*]+[.]', '') IN ($rule, $rule.regexp_replace('[.](range|pattern|values)$', '.bounds'),
        $rule.regexp_replace('[.]not_null$', '.type'))
    AND ($of_table = '' OR starts_with(rule, $of_table || '.') OR starts_with(rule, '*.'))
GROUP BY rule, digest
ORDER BY first_at, name
