-- grain: a table of a date that an entry of the ledger judged
-- reads: entries
-- gives: date, seq, run, moment, table, landed: what tells one landing of the table from another
SELECT
    date,
    seq,
    run,
    moment,
    counted."table" AS "table",
    list_sort(list_transform(list_filter(files, lambda f: f."table" = counted."table"), lambda f: f.sha256))::VARCHAR
        AS landed
FROM (SELECT date, seq, run, moment, files, unnest(counts) AS counted FROM entries WHERE kind IN ('judged', 'found'))
