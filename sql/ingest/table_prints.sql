-- grain: staged print of one date
-- reads: trades, quotes (staged, one date), instruments
-- params: $open, $close, $max_age_s [s], $aggressor ('given' | 'lee_ready' | 'tick_rule')
-- gives: public_trades' columns and why the print is left out (reason; null = it lands)
-- Lee-Ready: above the mid of the last quote strictly before the print a buyer crossed, below a seller; at the mid,
-- and without a two-sided quote of $max_age_s, the tick rule: the sign of the last change of price. Prices closer than
-- 1e-9 of the mid are at it, whatever their last digit. A side the source gives is kept.
WITH states AS (
    SELECT
        symbol,
        ts,
        arg_max(if(bid_px > 0 AND ask_px >= bid_px, (bid_px + ask_px) / 2, 'nan'::DOUBLE), (source_file, source_row))
            AS mid
    FROM quotes
    WHERE reason IS NULL AND $aggressor = 'lee_ready'
    GROUP BY symbol, ts
),
judged AS (
    SELECT
        trades.* EXCLUDE (reason),
        CASE
            WHEN trades.reason IS NOT NULL THEN trades.reason
            WHEN instruments.symbol IS NULL THEN 'no_instrument'
            WHEN trades.ts < $open OR trades.ts > $close THEN 'outside_session'
        END AS reason
    FROM trades
    LEFT JOIN instruments ON trades.symbol = instruments.symbol
),
ticks AS (
    SELECT
        *,
        nullif(sign(px - lag(px) OVER by_time), 0) AS change
    FROM judged
    WHERE reason IS NULL
    WINDOW by_time AS (PARTITION BY symbol ORDER BY ts, source_file, source_row)
),
sided AS (
    SELECT
        ticks.*,
        CASE
            WHEN isnan(mid) OR ticks.ts - states.ts > to_microseconds(($max_age_s * 1000000)::BIGINT) THEN NULL
            WHEN abs(px - mid) > 1e-9 * mid THEN sign(px - mid)
        END AS from_mid,
        last_value(change IGNORE NULLS) OVER (
            PARTITION BY ticks.symbol ORDER BY ticks.ts, source_file, source_row ROWS UNBOUNDED PRECEDING
        ) AS from_tick
    FROM ticks
    ASOF LEFT JOIN states ON ticks.symbol = states.symbol AND ticks.ts > states.ts
),
landed AS (
    SELECT
        symbol,
        ts,
        px,
        qty,
        CASE
            WHEN aggressor_side IS NOT NULL OR $aggressor = 'given' THEN aggressor_side
            ELSE coalesce(from_mid, from_tick)::BIGINT
        END AS side,
        source_file,
        source_row
    FROM sided
)
SELECT
    symbol,
    ts,
    px,
    qty,
    side AS aggressor_side,
    if(side IS NULL, 'side_unknown', NULL) AS reason,
    source_file,
    source_row
FROM landed
UNION ALL
SELECT symbol, ts, px, qty, aggressor_side, reason, source_file, source_row FROM judged WHERE reason IS NOT NULL
ORDER BY symbol, ts, source_file, source_row
