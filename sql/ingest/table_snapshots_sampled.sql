-- grain: symbol x point of a grid from $open to $close that has a quote to show
-- reads: quotes (staged, one date), instruments
-- params: $open, $close, $step_s [s], $max_age_s [s], $keep_locked, $keep_crossed
-- gives: market_snapshots' columns, where the quote came from (source_file, source_row), and why the state is left
--        out (reason; null = it lands)
-- The state at a grid point is the last quote strictly before it and inside the session, of equal times the last in
-- the source; it stands until the next quote, but no longer than $max_age_s.
WITH inside AS (
    SELECT
        *,
        ((epoch_us(ts) - epoch_us($open::TIMESTAMPTZ)) // ($step_s * 1000000)::BIGINT) + 1 AS slot
    FROM quotes
    SEMI JOIN instruments USING (symbol)
    WHERE reason IS NULL AND ts >= $open::TIMESTAMPTZ AND ts < $close::TIMESTAMPTZ
),
changes AS (
    SELECT
        symbol,
        slot,
        arg_max(
            {
                'ts': ts, 'bid_px': bid_px, 'ask_px': ask_px, 'bid_size': bid_size, 'ask_size': ask_size,
                'source_file': source_file, 'source_row': source_row
            },
            (ts, source_file, source_row)
        ) AS quote
    FROM inside
    GROUP BY symbol, slot
),
grid AS (
    SELECT symbol, slot, $open::TIMESTAMPTZ + to_microseconds(slot * ($step_s * 1000000)::BIGINT) AS ts
    FROM (SELECT DISTINCT symbol FROM changes)
    CROSS JOIN (
        SELECT unnest(range(1, (epoch_us($close::TIMESTAMPTZ) - epoch_us($open::TIMESTAMPTZ)) // ($step_s * 1000000)::BIGINT + 1)) AS slot
    )
)
SELECT
    grid.symbol,
    grid.ts,
    quote.bid_px,
    quote.ask_px,
    quote.bid_size,
    quote.ask_size,
    NULL::DOUBLE AS short_vol_bps,
    quote.source_file,
    quote.source_row,
    CASE
        WHEN NOT (quote.bid_px > 0 AND quote.ask_px > 0) THEN 'one_sided_book'
        WHEN quote.bid_px = quote.ask_px AND NOT $keep_locked THEN 'locked_book'
        WHEN quote.bid_px > quote.ask_px AND NOT $keep_crossed THEN 'crossed_book'
    END AS reason
FROM grid
ASOF JOIN changes ON grid.symbol = changes.symbol AND grid.slot >= changes.slot
WHERE grid.ts - quote.ts <= to_microseconds(($max_age_s * 1000000)::BIGINT)
ORDER BY grid.symbol, grid.ts
