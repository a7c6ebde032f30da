-- grain: date x regime
-- reads: buckets, regimes (feature partitions of several dates)
-- gives: regime_share (of the date's buckets), and over the regime's buckets of the date the median flow of a symbol
--        that trades [fraction of ADV], spread [bps] and vol [bps per snapshot]; null where there is none
WITH cells AS (
    SELECT
        date,
        ts,
        coalesce(regime, 'unknown') AS regime,
        CASE WHEN q_adv <> 0 THEN abs(q_adv) END AS flow,
        spread_bps,
        vol_bps
    FROM buckets
    LEFT JOIN regimes USING (date, ts)
),
dates AS (
    SELECT date, count(DISTINCT ts) AS n_buckets FROM cells GROUP BY date
),
labels AS (
    SELECT DISTINCT regime FROM cells
),
found AS (
    SELECT
        date,
        regime,
        count(DISTINCT ts) AS n_buckets,
        median(flow) AS flow,
        median(spread_bps) AS spread,
        median(vol_bps) AS vol
    FROM cells
    GROUP BY date, regime
)
SELECT
    dates.date,
    labels.regime,
    coalesce(found.n_buckets, 0) / dates.n_buckets AS regime_share,
    flow,
    spread,
    vol
FROM dates
CROSS JOIN labels
LEFT JOIN found ON dates.date = found.date AND labels.regime = found.regime
ORDER BY dates.date, labels.regime
