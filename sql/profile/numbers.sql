-- grain: the current day
-- reads: all landed tables of the day
-- params: $first_us, $last_us [us]: the books' first and last time
-- gives: a number per day rule, named <rule>__<table>
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
)

SELECT
    (SELECT count(*) FROM instruments) AS rows__instruments,
    (SELECT count(*) FROM parent_orders) AS rows__parent_orders,
    (SELECT count(*) FROM child_fills) AS rows__child_fills,
    (SELECT count(*) FROM market_snapshots) AS rows__market_snapshots,
    (SELECT count(*) FROM peer_flow) AS rows__peer_flow,
    (SELECT count(*) FROM public_trades) AS rows__public_trades,
    (
        SELECT sum(fill_px * fill_qty) FROM child_fills WHERE isfinite(fill_px) AND isfinite(fill_qty)
    ) AS notional__child_fills,
    (
        SELECT sum(px * qty) FROM public_trades WHERE isfinite(px) AND isfinite(qty)
    ) AS notional__public_trades,
    (
        SELECT 1 - count(short_vol_bps) / nullif(count(*), 0) FROM market_snapshots
    ) AS null_share__market_snapshots,
    (
        SELECT count(*) FILTER (WHERE sector_flow = 0 AND factor_flow = 0) / nullif(count(*), 0)
        FROM peer_flow
    ) AS zero_share__peer_flow,
    (
        SELECT median(abs(fee) / fill_qty) FROM child_fills WHERE isfinite(fee) AND fill_qty > 0
    ) AS fee_per_share__child_fills,
    (
        SELECT
            count(*) FILTER (
                WHERE epoch_us(ts) < $first_us - 60000000 OR epoch_us(ts) > $last_us + 60000000
            ) / nullif(count(*), 0)
        FROM public_trades
    ) AS clocks_agree__public_trades,
    (
        SELECT
            count(*) FILTER (
                WHERE epoch_us(ts) <= $first_us - (SELECT width_us FROM grid)
                    OR epoch_us(ts) > $last_us
            ) / nullif(count(*), 0)
        FROM peer_flow
    ) AS clocks_agree__peer_flow,
    (
        SELECT
            1
            - count(DISTINCT (symbol, ts))
            / nullif(count(DISTINCT symbol) * count(DISTINCT ts), 0)
        FROM peer_flow
    ) AS sparse__peer_flow,
    (
        SELECT 1 - (max(epoch_us(ts)) - min(epoch_us(ts)) + (SELECT width_us FROM grid))
            / nullif($last_us - $first_us, 0)
        FROM peer_flow
    ) AS short__peer_flow,
    (SELECT count(DISTINCT symbol) FROM peer_flow) AS symbols__peer_flow,
    (
        SELECT if(count(*) >= 20, median(lag_us) / 1e6, NULL) FROM own_prints
    ) AS fill_clock__child_fills
