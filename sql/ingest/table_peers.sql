-- grain: staged row of a peer flow file on one date
-- reads: peers (staged), instruments
-- gives: peer_flow's columns and why the row is left out (reason; null = it lands)
SELECT
    peers.symbol,
    ts,
    sector_flow,
    factor_flow,
    CASE
        WHEN reason IS NOT NULL THEN reason
        WHEN instruments.symbol IS NULL THEN 'no_instrument'
    END AS reason,
    source_file,
    source_row
FROM peers
LEFT JOIN instruments ON peers.symbol = instruments.symbol
ORDER BY peers.symbol, ts, source_file, source_row
