-- grain: table of the current day with rows in quarantine
-- reads: found, rule_facts
-- gives: table_name, n_quarantined [rows], n_faults [rows]: those that break a rule themselves, neither for
--        another's fault nor by saying that they are no execution or no tradable book
SELECT
    table_name,
    count(DISTINCT (file, row)) AS n_quarantined,
    count(DISTINCT (file, row)) FILTER (WHERE NOT (cascade OR state)) AS n_faults
FROM main.found
INNER JOIN main.rule_facts USING (table_name, rule_id)
WHERE date = getvariable('day') AND severity = 'quarantine'
GROUP BY table_name
