-- grain: the date
-- reads: parent_orders (accepted, one date), buckets (features)
-- gives: first_ts, last_ts: the earliest decision or bucket, and the last bucket [UTC]
SELECT least(min(buckets.ts), (SELECT min(decision_ts) FROM parent_orders)) AS first_ts, max(buckets.ts) AS last_ts
FROM buckets
