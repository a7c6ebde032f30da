-- grain: symbol x bucket with a landed snapshot
-- reads: market_snapshots, public_trades, child_fills, instruments (landed rows of one date)
-- params: $bucket_s [s], $own_in_prints
-- gives: contract table peer_flow [quote currency]: the prints' net aggressor flow of the symbol's sector and of the
--        market, less what the desk's own aggressive fills are of it (its passive fills were crossed by others)
WITH prints AS (
    SELECT
        symbol,
        time_bucket(to_seconds($bucket_s), ts) AS ts,
        sum(aggressor_side * (px * qty)::DECIMAL(30, 6)) AS flow
    FROM public_trades
    GROUP BY ALL
),
own AS (
    SELECT
        symbol,
        time_bucket(to_seconds($bucket_s), fill_ts) AS ts,
        sum(if(side = 'BUY', 1, -1) * (fill_px * fill_qty)::DECIMAL(30, 6)) AS flow
    FROM child_fills
    WHERE liquidity = 'AGGRESSIVE' AND $own_in_prints
    GROUP BY ALL
),
others AS (
    SELECT symbol, ts, sector, coalesce(prints.flow, 0) - coalesce(own.flow, 0) AS flow
    FROM prints
    FULL JOIN own USING (symbol, ts)
    JOIN instruments USING (symbol)
),
sectors AS (
    SELECT sector, ts, sum(flow) AS flow FROM others GROUP BY sector, ts
),
market AS (
    SELECT ts, sum(flow) AS flow FROM others GROUP BY ts
),
cells AS (
    SELECT DISTINCT symbol, time_bucket(to_seconds($bucket_s), ts) AS ts FROM market_snapshots
)
SELECT
    cells.symbol,
    cells.ts,
    coalesce(sectors.flow, 0)::DOUBLE AS sector_flow,
    coalesce(market.flow, 0)::DOUBLE AS factor_flow
FROM cells
JOIN instruments ON cells.symbol = instruments.symbol
LEFT JOIN sectors ON instruments.sector = sectors.sector AND cells.ts = sectors.ts
LEFT JOIN market ON cells.ts = market.ts
ORDER BY cells.symbol, cells.ts
