-- grain: symbol x bucket of the dates asked
-- reads: buckets, regimes (feature partitions of several dates)
-- params: $min_net_share, of the gross flow
-- gives: the panel's cells with dense 0-based time and symbol indices, ordered; s_bps only where the net flow is
--        at least $min_net_share of the gross flow
SELECT
    dense_rank() OVER (ORDER BY ts) - 1 AS t,
    dense_rank() OVER (ORDER BY symbol) - 1 AS i,
    ts,
    date::VARCHAR AS date,
    symbol,
    sector,
    adv_notional,
    coalesce(regime, 'unknown') AS regime,
    q_adv,
    CASE WHEN abs(q_usd) >= $min_net_share * gross_usd THEN s_bps END AS s_bps,
    move_bps,
    sector_flow_adv,
    factor_flow_adv
FROM buckets
LEFT JOIN regimes USING (date, ts)
ORDER BY t, i
