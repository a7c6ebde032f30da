-- grain: a date that was ever judged or blocked
-- reads: entries
-- gives: last entry's kind, when it was told, entries, and of the last one that judged rows: landed and quarantined
--        [rows]
WITH counted AS (
    SELECT
        date,
        arg_max(counts, seq) FILTER (WHERE kind IN ('judged', 'found')) AS counts,
        arg_max(kind, seq) AS kind,
        arg_max(moment, seq) AS told,
        max(seq) AS entries
    FROM entries
    GROUP BY date
)
SELECT
    date,
    kind,
    told,
    entries,
    coalesce(list_sum(list_transform(counts, lambda c: c.landed)), 0)::BIGINT AS landed,
    coalesce(list_sum(list_transform(counts, lambda c: c.quarantined)), 0)::BIGINT AS quarantined
FROM counted
ORDER BY date
