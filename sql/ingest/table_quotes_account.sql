-- grain: reason among the staged quotes of one date
-- reads: quotes, instruments, snapshots
-- params: $open, $close
-- gives: n_rows; reason null = the quote is landed, at one grid point or at several
WITH shown AS (
    SELECT source_file, source_row, bool_and(reason IS NOT NULL) AS is_left_out, any_value(reason) AS reason
    FROM snapshots
    GROUP BY source_file, source_row
),
judged AS (
    SELECT
        CASE
            WHEN quotes.reason IS NOT NULL THEN quotes.reason
            WHEN instruments.symbol IS NULL THEN 'no_instrument'
            WHEN quotes.ts < $open OR quotes.ts > $close THEN 'outside_session'
            WHEN shown.is_left_out IS NULL THEN 'superseded'
            WHEN shown.is_left_out THEN shown.reason
        END AS reason
    FROM quotes
    LEFT JOIN instruments ON quotes.symbol = instruments.symbol
    LEFT JOIN shown
        ON quotes.source_file = shown.source_file AND quotes.source_row = shown.source_row
)
SELECT reason, count(*) AS n_rows FROM judged GROUP BY reason ORDER BY reason
