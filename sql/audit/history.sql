-- grain: a row that broke a rule at any time
-- reads: audit_violations (a row and rule of an entry), judgements (an entry's table: digest of its landed files)
-- gives: date, table, rule, key, file, row and what was last told of it; first and last entry that found it, and
--        status: open (found in the date's last judgement), released (its files are as they were, the rule or a
--        waiver is not), superseded (its files were landed again, or it is not asked any more)
WITH last AS (
    SELECT date, "table", max(seq) AS seq FROM judgements GROUP BY date, "table"
),
last_of_date AS (
    SELECT date, max(seq) AS seq FROM judgements GROUP BY date
),
found AS (
    SELECT
        date,
        "table",
        rule,
        key,
        file,
        row,
        arg_max(severity, seq) AS severity,
        arg_max(cascade, seq) AS cascade,
        arg_max(symbol, seq) AS symbol,
        arg_max(venue, seq) AS venue,
        arg_max("column", seq) AS "column",
        arg_max("value", seq) AS "value",
        min(seq) AS first_seq,
        max(seq) AS last_seq
    FROM audit_violations
    GROUP BY ALL
)
SELECT
    found.*,
    began.moment AS first_seen,
    began.run AS first_run,
    ended.moment AS last_seen,
    ended.run AS last_run,
    CASE
        WHEN found.last_seq = last_of_date.seq THEN 'open'
        WHEN after_it.landed = ended.landed THEN 'released'
        ELSE 'superseded'
    END AS status,
    CASE WHEN found.last_seq < last_of_date.seq THEN coalesce(after_it.run, closing.run) END AS ended_by,
    CASE WHEN found.last_seq < last_of_date.seq THEN coalesce(after_it.moment, closing.moment) END AS ended_at
FROM found
JOIN last_of_date USING (date)
JOIN judgements AS closing ON closing.date = found.date AND closing.seq = last_of_date.seq
    AND closing."table" = (
        SELECT min(other."table") FROM judgements AS other
        WHERE other.date = found.date AND other.seq = last_of_date.seq
    )
JOIN judgements AS began ON began.date = found.date AND began."table" = found."table" AND began.seq = found.first_seq
JOIN judgements AS ended ON ended.date = found.date AND ended."table" = found."table" AND ended.seq = found.last_seq
ASOF LEFT JOIN judgements AS after_it
    ON after_it.date = found.date AND after_it."table" = found."table" AND found.last_seq < after_it.seq
ORDER BY found.date, found."table", rule, file, row
