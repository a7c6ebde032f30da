-- grain: bucket x symbol with a state
-- reads: buckets, regimes (features of one date), instruments (accepted, one date)
-- gives: t, i (dense 0-based time and symbol indices), ts, symbol, regime, q_adv, sector_flow_adv, factor_flow_adv
--        [fraction of ADV], adv_notional [USD], move_bps [bps, null when unknown], market_beta (1 when unknown)
SELECT
    dense_rank() OVER (ORDER BY ts) - 1 AS t,
    dense_rank() OVER (ORDER BY symbol) - 1 AS i,
    ts,
    symbol,
    coalesce(regime, 'unknown') AS regime,
    q_adv,
    coalesce(sector_flow_adv, 0) AS sector_flow_adv,
    coalesce(factor_flow_adv, 0) AS factor_flow_adv,
    buckets.adv_notional,
    move_bps,
    coalesce(market_beta, 1) AS market_beta
FROM buckets
LEFT JOIN regimes USING (ts)
LEFT JOIN instruments USING (symbol)
ORDER BY t, i
