-- grain: an accepted parent order
-- reads: parent_orders, tca_orders (accepted and mart, one date)
-- gives: order_id, basket_id (the order's own id where it has none), symbol, quantity (signed shares),
--        decision_px [price], start_ts, end_ts, alpha_bps [bps, 0 where none], realized_usd: its shortfall as TCA has
--        it, positive = worse [USD]
SELECT
    order_id,
    coalesce(parent_orders.basket_id, order_id) AS basket_id,
    parent_orders.symbol,
    if(parent_orders.side = 'BUY', 1, -1) * parent_orders.parent_qty AS quantity,
    parent_orders.decision_px,
    parent_orders.start_ts,
    parent_orders.end_ts,
    coalesce(parent_orders.alpha_bps, 0) AS alpha_bps,
    total_usd::DOUBLE AS realized_usd
FROM parent_orders
JOIN tca_orders USING (order_id)
ORDER BY order_id
