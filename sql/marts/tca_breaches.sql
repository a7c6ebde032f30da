-- grain: a rule of the desk that was broken: rule x bucket x pair, fill or order
-- reads: tca_fills, tca_orders, buckets (features), pairs (what the models say each pair costs, gamma on both sides)
-- params: $least_bps (of the bucket's notional of both names: what makes a stagger breach or a bad fill)
-- gives: stagger: both names of a pair traded to one side in a bucket though that costs more than $least_bps of what was
--        traded; same_time_fill: a fill that paid more than $least_bps for other names' flow of its bucket; benchmark_gaming:
--        an order whose carried impact is a gain from its own arrival and a cost from the name's first of the day
WITH traded AS (
    SELECT ts, symbol, regime, sum(per_bps_usd) AS usd_per_bps, sum(abs(per_bps_usd)) AS gross_per_bps
    FROM tca_fills
    GROUP BY ts, symbol, regime
),
flows AS (
    SELECT ts, symbol, regime, usd_per_bps, gross_per_bps, q_adv
    FROM traded
    INNER JOIN buckets USING (ts, symbol)
),
stagger AS (
    SELECT
        'stagger' AS rule,
        a.ts,
        pairs.symbol_i,
        pairs.symbol_j,
        a.usd_per_bps * gamma_ij * b.q_adv + b.usd_per_bps * gamma_ji * a.q_adv AS cost,
        cost / (a.gross_per_bps + b.gross_per_bps) AS bps
    FROM pairs
    INNER JOIN flows AS a ON pairs.symbol_i = a.symbol AND pairs.regime = a.regime
    INNER JOIN flows AS b ON pairs.symbol_j = b.symbol AND a.ts = b.ts
    WHERE a.q_adv * b.q_adv > 0
),
rows AS (
    SELECT
        rule,
        ts,
        symbol_i,
        symbol_j,
        '' AS order_id,
        '' AS fill_id,
        cost::DECIMAL(38, 6) AS cost_usd,
        printf('%s and %s traded together: %.2f bps of both', symbol_i, symbol_j, bps) AS detail
    FROM stagger
    WHERE bps > $least_bps
    UNION ALL
    SELECT
        'same_time_fill',
        ts,
        symbol,
        '',
        order_id,
        fill_id,
        cross_now_usd,
        printf('%.2f bps for other names'' flow of the bucket, at %s', 1e4 * cross_now_usd / notional_usd, venue)
    FROM tca_fills
    WHERE cross_now_usd * 1e4 > $least_bps * notional_usd
    UNION ALL
    SELECT
        'benchmark_gaming',
        arrival_ts,
        symbol,
        '',
        order_id,
        '',
        ((hybrid_bps - separate_bps) * 1e-4 * notional_usd)::DECIMAL(38, 6),
        printf('%.2f bps from its own arrival, %.2f from the first in the name', separate_bps, hybrid_bps)
    FROM tca_orders
    WHERE benchmark_gaming
)
FROM rows
ORDER BY rule, ts, symbol_i, symbol_j, order_id, fill_id
