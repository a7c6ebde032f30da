-- grain: venue x liquidity x sector x regime x horizon; sector and regime null: all of them, venue and liquidity null: the desk
-- reads: child_fills, market_snapshots, instruments (accepted, one date), regimes (features)
-- params: $bucket_s [s], $max_age_s [s]
-- gives: markout_bps: how far the mid stood from the fill's price horizon_s after it, in the fill's favour, mean by notional
--        [bps; at 0 s minus half the effective spread]; se_bps its standard error, orders being what varies (null for one);
--        effective_spread_bps = 2 x (fill - mid) signed by side over the mid, etq its share of the quoted spread; n fills
--        with a mid no older than $max_age_s at both ends, of notional_usd
WITH fills AS (
    SELECT
        order_id,
        symbol,
        venue,
        liquidity,
        fill_ts,
        time_bucket(to_seconds($bucket_s), fill_ts) AS ts,
        if(side = 'BUY', 1, -1) AS direction,
        fill_px,
        fill_qty * fill_px AS notional_usd
    FROM child_fills
),
quotes AS (
    SELECT symbol, ts AS quote_ts, (bid_px + ask_px) / 2 AS mid, ask_px - bid_px AS quoted
    FROM market_snapshots
),
met AS (
    SELECT
        fills.*,
        coalesce(sector, 'no sector') AS sector,
        coalesce(regime, 'unknown') AS regime,
        2e4 * direction * (fill_px - mid) / mid AS effective_spread_bps,
        2 * direction * (fill_px - mid) / nullif(quoted, 0) AS etq
    FROM fills
    ASOF INNER JOIN quotes ON fills.symbol = quotes.symbol AND fills.fill_ts >= quotes.quote_ts
    LEFT JOIN instruments ON fills.symbol = instruments.symbol
    LEFT JOIN regimes ON fills.ts = regimes.ts
    WHERE fill_ts - quote_ts <= to_seconds($max_age_s)
),
later AS (
    SELECT met.*, horizon_s, fill_ts + to_seconds(horizon_s) AS then_ts
    FROM met, (SELECT unnest([0, 10, 30, 60, 300, 900, 1800]) AS horizon_s)
),
marked AS (
    SELECT later.*, 1e4 * direction * (mid - fill_px) / fill_px AS markout_bps
    FROM later
    ASOF INNER JOIN quotes ON later.symbol = quotes.symbol AND later.then_ts >= quotes.quote_ts
    WHERE then_ts - quote_ts <= to_seconds($max_age_s)
),
groups AS (
    SELECT
        venue,
        liquidity,
        sector,
        regime,
        horizon_s,
        count(*) AS n,
        sum(notional_usd) AS notional,
        sum(notional_usd * markout_bps) / notional AS mean,
        sum(notional_usd * effective_spread_bps) / notional AS effective_spread_bps,
        sum(notional_usd * etq) / notional AS etq
    FROM marked
    GROUP BY GROUPING SETS (
        (venue, liquidity, sector, regime, horizon_s), (venue, liquidity, horizon_s), (horizon_s)
    )
),
-- what each order adds to its group's sum beyond the mean
scores AS (
    SELECT
        groups.*,
        marked.order_id,
        sum(marked.notional_usd * (markout_bps - mean)) AS score
    FROM groups
    INNER JOIN marked
        ON groups.horizon_s = marked.horizon_s
        AND (groups.venue IS NULL OR (groups.venue = marked.venue AND groups.liquidity = marked.liquidity))
        AND (groups.sector IS NULL OR (groups.sector = marked.sector AND groups.regime = marked.regime))
    GROUP BY ALL
)
SELECT
    venue,
    liquidity,
    sector,
    regime,
    horizon_s::INTEGER AS horizon_s,
    n,
    round(notional, 6)::DECIMAL(38, 6) AS notional_usd,
    mean AS markout_bps,
    if(count(*) > 1, sqrt(sum(score ** 2) * count(*) / nullif(count(*) - 1, 0)) / notional, NULL) AS se_bps,
    effective_spread_bps,
    etq
FROM scores
GROUP BY venue, liquidity, sector, regime, horizon_s, n, notional, mean, effective_spread_bps, etq
ORDER BY venue NULLS FIRST, liquidity NULLS FIRST, sector NULLS FIRST, regime NULLS FIRST, horizon_s
