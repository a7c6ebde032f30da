-- grain: one row
-- reads: flow, buckets (one date)
-- gives: fills (count) and usd [USD] of the flow that no bucket prices: its symbol has no accepted instruments
--        row that day, or no fresh book at an end of the bucket
SELECT
    coalesce(sum(n_fills), 0)::BIGINT AS fills,
    coalesce(sum(gross_usd), 0)::DOUBLE AS usd
FROM flow
ANTI JOIN (SELECT symbol, ts AS bucket FROM buckets WHERE mid_start IS NOT NULL) AS placed USING (symbol, bucket)
