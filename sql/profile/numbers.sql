-- grain: the current day
-- reads: all landed tables of the day
-- params: $first_us, $last_us [us]: the books' first and last time
-- gives: a number per day rule, named <rule>__<table>
-- Each table is read once for its counts and sums: a profile is made of every landed date.
WITH gaps AS (
    SELECT epoch_us(ts) - lag(epoch_us(ts)) OVER (PARTITION BY symbol ORDER BY ts) AS gap_us
    FROM peer_flow
),

grid AS (
    SELECT mode(gap_us) AS width_us FROM gaps WHERE gap_us > 0
),

own_prints AS (
    SELECT
        epoch_us(fills.fill_ts) - epoch_us(prints.ts) AS lag_us
    FROM (
        SELECT * FROM child_fills WHERE row % (SELECT greatest(1, count(*) // 500) FROM child_fills) = 0
    ) AS fills
    INNER JOIN public_trades AS prints
        ON fills.symbol = prints.symbol
        AND fills.fill_px = prints.px
        AND fills.fill_qty = prints.qty
        AND abs(epoch_us(fills.fill_ts) - epoch_us(prints.ts)) <= 30000000
    QUALIFY row_number() OVER (
        PARTITION BY fills.file, fills.row ORDER BY abs(epoch_us(fills.fill_ts) - epoch_us(prints.ts))
    ) = 1
),

fills AS (
    SELECT
        count(*) AS n_rows,
        sum(fill_px * fill_qty) FILTER (WHERE isfinite(fill_px) AND isfinite(fill_qty)) AS notional,
        median(abs(fee) / fill_qty) FILTER (WHERE isfinite(fee) AND fill_qty > 0) AS fee_per_share
    FROM child_fills
),

books AS (
    SELECT count(*) AS n_rows, 1 - count(short_vol_bps) / nullif(count(*), 0) AS null_share
    FROM market_snapshots
),

prints AS (
    SELECT
        count(*) AS n_rows,
        sum(px * qty) FILTER (WHERE isfinite(px) AND isfinite(qty)) AS notional,
        count(*) FILTER (
            WHERE epoch_us(ts) < $first_us - 60000000 OR epoch_us(ts) > $last_us + 60000000
        ) / nullif(count(*), 0) AS elsewhere
    FROM public_trades
),

peers AS (
    SELECT
        count(*) AS n_rows,
        count(*) FILTER (WHERE sector_flow = 0 AND factor_flow = 0) / nullif(count(*), 0) AS zero_share,
        count(*) FILTER (
            WHERE epoch_us(ts) <= $first_us - (SELECT width_us FROM grid) OR epoch_us(ts) > $last_us
        ) / nullif(count(*), 0) AS elsewhere,
        1
        - count(DISTINCT (symbol, ts))
        / nullif(count(DISTINCT symbol) * count(DISTINCT ts), 0) AS sparse,
        1
        - (max(epoch_us(ts)) - min(epoch_us(ts)) + (SELECT width_us FROM grid))
        / nullif($last_us - $first_us, 0) AS short,
        count(DISTINCT symbol) AS n_symbols
    FROM peer_flow
)

SELECT
    (SELECT count(*) FROM instruments) AS rows__instruments,
    (SELECT count(*) FROM parent_orders) AS rows__parent_orders,
    fills.n_rows AS rows__child_fills,
    books.n_rows AS rows__market_snapshots,
    peers.n_rows AS rows__peer_flow,
    prints.n_rows AS rows__public_trades,
    fills.notional AS notional__child_fills,
    prints.notional AS notional__public_trades,
    books.null_share AS null_share__market_snapshots,
    peers.zero_share AS zero_share__peer_flow,
    fills.fee_per_share AS fee_per_share__child_fills,
    prints.elsewhere AS clocks_agree__public_trades,
    peers.elsewhere AS clocks_agree__peer_flow,
    peers.sparse AS sparse__peer_flow,
    peers.short AS short__peer_flow,
    peers.n_symbols AS symbols__peer_flow,
    (
        SELECT if(count(*) >= 20, median(lag_us) / 1e6, NULL) FROM own_prints
    ) AS fill_clock__child_fills
FROM fills
CROSS JOIN books
CROSS JOIN prints
CROSS JOIN peers
