-- grain: the quarantined rows of a table
-- reads: refused (quarantine of child_fills or parent_orders, one date)
-- gives: what they are worth as they say themselves [USD]; a row that cannot be read counts as nothing
WITH said AS (
    SELECT
        abs(try_cast(record ->> '$.fill_px' AS DOUBLE) * try_cast(record ->> '$.fill_qty' AS DOUBLE)) AS filled_usd,
        abs(try_cast(record ->> '$.parent_notional' AS DOUBLE)) AS ordered_usd
    FROM refused
)
SELECT coalesce(sum(coalesce(filled_usd, ordered_usd)) FILTER (WHERE isfinite(coalesce(filled_usd, ordered_usd))), 0) AS worth_usd
FROM said
