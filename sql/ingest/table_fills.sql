-- grain: staged execution of one date
-- reads: executions (staged), instruments
-- gives: child_fills' columns and why the execution is left out (reason; null = it lands); no fee is a fee of zero
SELECT
    fill_id,
    order_id,
    executions.symbol,
    side,
    fill_ts,
    fill_px,
    fill_qty,
    venue,
    liquidity,
    coalesce(fee, 0) AS fee,
    CASE
        WHEN reason IS NOT NULL THEN reason
        WHEN instruments.symbol IS NULL THEN 'no_instrument'
    END AS reason,
    source_file,
    source_row
FROM executions
LEFT JOIN instruments ON executions.symbol = instruments.symbol
ORDER BY fill_id, venue, source_file, source_row
