-- grain: symbol x bucket with a landed snapshot
-- reads: market_snapshots
-- gives: contract table peer_flow, zero by definition [CNY at par]: in a public landing q is
--        everybody's flow, so no other participant is left to speak of
SELECT DISTINCT
    symbol,
    time_bucket(to_seconds($bucket_s), ts) AS ts,
    CAST(0 AS DOUBLE) AS sector_flow,
    CAST(0 AS DOUBLE) AS factor_flow
FROM market_snapshots
ORDER BY symbol, ts
