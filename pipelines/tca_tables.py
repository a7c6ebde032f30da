"""The marts of daily TCA: their names, grain, columns and units, declared in one place.

Every mart is one partition a date, `marts/<table>/date=<D>`. Money is USD in exact micro-dollars,
positive is a cost to the desk; `*_bps` are of `notional_usd` where nothing else is said.
"""

from __future__ import annotations

from pipelines.tca_columns import (
    CAUSES,
    PARTS,
    Column,
    Table,
    flag,
    meaning,
    money,
    rates,
    real,
    text,
    time,
    usd,
    whole,
)

_ALL = ("total", *PARTS, "cross_realized", *CAUSES)
_PRICED = (
    text("priced_by", "who answered: rung/regime and why; several parted by ;"),
    text("release_id", "the releases that were live at the fills, else at the decision"),
    flag("in_sample", "whether one of them was fitted on a window with this date"),
    text("release_status", "live, or why a release prices that was not"),
)
_STATUS = text("status", "ok, or what was done about bad input; several parted by ;")

FILLS = Table(
    "tca_fills",
    "an execution of the date: accepted, or quarantined and executed all the same",
    ("fill_id", "venue"),
    (
        text("fill_id", "the venue's id"),
        text("venue", "where it was executed"),
        text("order_id", "its parent"),
        text("basket_id", "its parent's basket"),
        text("symbol", "name"),
        text("sector", "of the name"),
        text("side", "BUY or SELL"),
        text("liquidity", "PASSIVE or AGGRESSIVE"),
        time("fill_ts", "time of execution"),
        time("ts", "start of its bucket"),
        text("regime", "of its bucket"),
        _STATUS,
        flag("is_orphan", "its parent was refused: no decision, no arrival, in no order's cost"),
        real("fill_qty", "shares", "executed"),
        real("fill_px", "price", "paid"),
        real("mid_px", "price", "mid at the fill; null when none was fresh"),
        usd("notional_usd", "executed quantity x price"),
        *money(n for n in _ALL if not n.startswith("opportunity")),
        *_PRICED,
    ),
)

ORDERS = Table(
    "tca_orders",
    "a parent order that was alive on the date: its part of that date",
    ("order_id",),
    (
        text("order_id", "the desk's id"),
        text("basket_id", "its basket, if any"),
        text("symbol", "name"),
        text("sector", "of the name"),
        text("side", "BUY or SELL"),
        text("regime", "of most of its executed notional, without fills that at the decision"),
        _STATUS,
        text("first_date", "date on which it was landed; before this one: carried in"),
        flag("is_open", "whether it lasts beyond the date: nothing of it is opportunity yet"),
        time("decision_ts", "decision"),
        time("arrival_ts", "arrival; of an order carried in, its previous close"),
        time("end_ts", "end of its window"),
        time("first_fill_ts", "first fill of the date"),
        time("last_fill_ts", "last fill of the date"),
        real("parent_qty", "shares", "ordered in all"),
        real("filled_before_qty", "shares", "executed on dates before"),
        real("filled_qty", "shares", "executed on this date"),
        real("unfilled_qty", "shares", "left at the end of the date"),
        real("executed_unpriced_qty", "shares", "executed on this date without a mid to price it"),
        usd("executed_unpriced_usd", "the same x price"),
        whole("n_fills", "fills of the date"),
        whole("fills_without_mid", "of them without a fresh mid"),
        usd("notional_usd", "ordered x decision price; while open what was filled, the rest later"),
        usd("filled_usd", "executed x price"),
        real("decision_px", "price", "decision"),
        real("arrival_px", "price", "arrival"),
        real("average_px", "price", "mean of the fills; null without any"),
        real("close_px", "price", "at which the unfilled is marked"),
        text("arrival_from", "ARRIVAL, mid at start, previous close or decision"),
        text("close_from", "CLOSE, last snapshot or decision; null when nothing was left"),
        *money(_ALL),
        *rates(("total", *PARTS, "cross_realized", "peers", "market", "residual")),
        real("slippage_bps", "bps of filled_usd", "the executed part after arrival, fees included"),
        real(
            "market_adjusted_bps",
            "bps",
            "total less the purified market, of all of it",
        ),
        real("residual_sd_bps", "bps", "standard deviation of residual_bps by the names' noise"),
        real("residual_z", "", "residual over that"),
        real("expected_bps", "bps", "self + cross of the model over the order's life"),
        real("expected_z", "", "(self + cross + timing less expected) over residual_sd_bps"),
        real("arrival_cost_bps", "bps of filled", "average price against the arrival"),
        real("vwap_bps", "bps of filled", "against the prints' VWAP from arrival to last fill"),
        real("twap_bps", "bps of filled", "against the mean mid from arrival to last fill"),
        real("interval_mid_bps", "bps of filled", "against the INTERVAL_MID mark"),
        real("close_bps", "bps of filled", "against the close"),
        real(
            "pwp10_bps",
            "bps of filled",
            "against the VWAP of the first prints of 10 times its size",
        ),
        real("rpm", "share", "volume at worse prices, arrival to last fill; half of equal ones"),
        real("effective_spread_bps", "bps", "twice the fills' distance from the mid"),
        real("participation", "share", "of the volume printed from arrival to last fill"),
        real("pct_adv", "%", "filled notional of the name's ADV"),
        real("duration_min", "min", "from arrival to last fill"),
        real("spread_arrival_bps", "bps", "quoted at the arrival"),
        real("vol_bps", "bps per snapshot", "of the bucket of the arrival"),
        real("alpha_bps", "bps", "expected by the desk, in the order's favour, as landed"),
        real(
            "reversion_30min_bps",
            "bps",
            "mid 30 min after the last fill, + = it came back",
        ),
        real("reversion_60min_bps", "bps", "the same after 60 min"),
        real("separate_bps", "bps", "impact carried when struck at its own arrival"),
        real("hybrid_bps", "bps", "the same struck at the name's first arrival of the day"),
        flag("benchmark_gaming", "whether these two differ in sign"),
        text("outlier_reason", "why the order stands out; null when it does not"),
        *_PRICED,
    ),
)

LIFE = Table(
    "tca_order_life",
    "a parent order that was alive on the date, over all dates until then",
    ("order_id",),
    (
        text("order_id", "the desk's id"),
        text("basket_id", "its basket, if any"),
        text("symbol", "name"),
        text("side", "BUY or SELL"),
        text("first_date", "date on which it was landed"),
        text("last_date", "this date"),
        whole("dates", "dates summed"),
        _STATUS,
        flag("is_open", "whether it lasts beyond the date"),
        real("parent_qty", "shares", "ordered"),
        real("filled_qty", "shares", "executed"),
        usd("notional_usd", "ordered x decision price, once; while open what was filled"),
        usd("filled_usd", "executed x price"),
        *money(_ALL),
        *rates(("total", *PARTS)),
    ),
)

BUCKETS = Table(
    "tca_buckets",
    "a bucket of the session, and any other in which the desk traded",
    ("ts",),
    (
        time("ts", "start"),
        text("regime", "label"),
        whole("n_fills", "fills, orphans too"),
        whole("n_names", "names traded"),
        usd("gross_usd", "executed"),
        usd("slippage_usd", "fills against the mids at the bucket's start, sum of what follows"),
        usd("spread_usd", "fills against the mids at their time"),
        usd("self_usd", "own flow of the bucket"),
        usd("cross_usd", "other names' flow of the bucket"),
        usd("carried_usd", "how earlier own and cross flow faded since the start"),
        usd("peers_usd", "others' flow since the start"),
        usd("market_usd", "purified market since the start"),
        usd("residual_usd", "what nothing explains"),
        usd("cross_realized_usd", "cross + market + residual"),
        whole("fills_without_start", "fills without a mid at the bucket's start"),
        text("priced_by", "who answered"),
    ),
)

PAIRS = Table(
    "tca_pairs",
    "an unordered pair of names x regime whose flows cost each other anything",
    ("place",),
    (
        whole("place", "1: largest |usd|", ""),
        text("symbol_i", "first in the model's order"),
        text("symbol_j", "second"),
        text("sector_i", "of the first"),
        text("sector_j", "of the second"),
        text("regime", "of the buckets that pushed"),
        usd("usd", "now + carried, both directions"),
        usd("now_usd", "trading both in the same bucket"),
        usd("carried_usd", "what each left for the other in later buckets"),
        usd("leg_usd", "half of usd: what each leg is charged"),
        real("share", "share", "of the day's |usd| over all pairs"),
        real("gamma_ij_bps", "bps", "on the first per unit of ADV fraction in the second"),
        real("gamma_ji_bps", "bps", "on the second per unit of ADV fraction in the first"),
        whole("days_in_top20", "of the last 20 dates analysed, this one too, among the top 20"),
        whole("days_seen", "those dates", "dates"),
    ),
)

BREACHES = Table(
    "tca_breaches",
    "a rule of the desk that was broken: rule x bucket x pair, or x fill, or x order",
    ("rule", "ts", "symbol_i", "symbol_j", "order_id", "fill_id"),
    (
        text("rule", "stagger, same_time_fill or benchmark_gaming"),
        time("ts", "bucket"),
        text("symbol_i", "name"),
        text("symbol_j", "the other; empty when one name is all"),
        text("order_id", "order; empty when a pair is meant"),
        text("fill_id", "fill; empty when none is meant"),
        usd("cost_usd", "modelled cost of it"),
        text("detail", "in words"),
    ),
)

MARKOUTS = Table(
    "tca_markouts",
    "venue x liquidity x sector x regime x horizon; null: all of them",
    ("venue", "liquidity", "sector", "regime", "horizon_s"),
    (
        text("venue", "where executed"),
        text("liquidity", "PASSIVE or AGGRESSIVE"),
        text("sector", "of the name"),
        text("regime", "of the bucket"),
        Column("horizon_s", "INTEGER", "s", "after the fill"),
        whole("n", "fills with a fresh mid at both ends"),
        usd("notional_usd", "executed"),
        real("markout_bps", "bps", "mid against the fill's price, in the fill's favour"),
        real("se_bps", "bps", "standard error, orders being what varies; null for one"),
        real("effective_spread_bps", "bps", "twice the distance from the mid"),
        real("etq", "share", "effective of quoted spread"),
    ),
    "venue NULLS FIRST, liquidity NULLS FIRST, sector NULLS FIRST, regime NULLS FIRST, horizon_s",
)

PATH = Table(
    "tca_path",
    "parent order x bucket in which it was filled",
    ("order_id", "ts"),
    (
        text("order_id", "the desk's id"),
        text("symbol", "name"),
        time("ts", "bucket"),
        usd("notional_usd", "executed in it"),
        real("drift_bps", "bps", "how far the mid had moved since the arrival, sum of the rest"),
        real("self_now_bps", "bps", meaning("self_now")),
        real("self_carried_bps", "bps", "what own and siblings' earlier flow left"),
        real("cross_bps", "bps", meaning("cross")),
        real("peers_bps", "bps", meaning("peers")),
        real("market_bps", "bps", meaning("market")),
        real("residual_bps", "bps", meaning("residual")),
    ),
)

#: Of the costs of orders, bps: quantile x (value, ends of its interval).
QUANTILES = tuple(f"p{q}" for q in (50, 90, 95))
DAILY = Table(
    "tca_daily",
    "scope x name: the desk first, then each basket, symbol, sector, regime and venue",
    ("scope", "name"),
    (
        text("date", "trading date"),
        text("scope", "desk, basket, symbol, sector, regime or venue"),
        text("name", "of it; empty for the desk, and where an order has none"),
        whole("parents", "orders alive; of a venue those with fills there"),
        whole("parents_filled", "of them with a fill of the date"),
        whole("parents_flagged", "of them whose status is not ok"),
        whole("fills", "executions"),
        whole("fills_without_mid", "without a fresh mid"),
        whole("fills_without_start", "without a mid at their bucket's start"),
        whole("orphan_fills", "of refused parents, in no order's cost"),
        usd("orphan_usd", "executed by them"),
        usd("executed_unpriced_usd", "executed without a mid to price it"),
        usd("notional_usd", "ordered; of a venue executed"),
        usd("filled_usd", "executed"),
        *money(_ALL),
        *rates(_ALL),
        real("residual_sd_bps", "bps", "standard deviation of residual_bps by the names' noise"),
        real("residual_z", "", "residual over that"),
        *(
            real(f"{q}{end}_bps", "bps", f"{q} of the orders' total_bps{said}")
            for q in QUANTILES
            for end, said in (("", ""), ("_low", ", lower end"), ("_high", ", upper end (95%)"))
        ),
        whole("arrivals_from_decision", "orders that arrived at their decision for want of better"),
        whole("closes_from_snapshot", "unfilled rests marked at the last snapshot"),
        whole("closes_from_decision", "unfilled rests marked at the decision"),
        usd("bucket_cross_usd", "predicted cross of the buckets, orphans too"),
        usd("bucket_cross_realized_usd", "realized cross of the buckets, orphans too"),
        *_PRICED[1:],
    ),
    "CASE scope WHEN 'desk' THEN 0 ELSE 1 END, scope, name",
)

CALIBRATION = Table(
    "tca_calibration",
    "scope x name: realized on predicted cross over the last 20 dates",
    ("scope", "name"),
    (
        text("scope", "all, regime or sector"),
        text("name", "of it; empty for all"),
        real("slope", "", "realized per predicted: 1 is calibrated; null when nothing tells"),
        real("se", "", "standard error, dates as clusters"),
        real("low", "", "lower end of the 95% interval"),
        real("high", "", "upper end"),
        whole("buckets", "used"),
        whole("dates", "looked at", "dates"),
        whole("in_sample_dates", "of them in the release's window: no evidence", "dates"),
        real("coverage", "share", "of the dates' own 95% intervals that cover 1"),
        real("day_slope", "", "of this date alone: a dot in the trend, never an alarm"),
        real("slope_before", "", "of the 20 dates that ended five dates before"),
        real("low_before", "", "lower end of its interval"),
        real("high_before", "", "upper end"),
        flag("alarm", "whether both intervals lie on one side of 1"),
    ),
    "CASE scope WHEN 'all' THEN 0 ELSE 1 END, scope, name",
)

#: In the order of publication: the daily table, read by everything after, comes last.
TABLES = {
    table.name: table
    for table in (
        FILLS, ORDERS, LIFE, BUCKETS, PATH, PAIRS, BREACHES, MARKOUTS, CALIBRATION, DAILY,
    )
}  # fmt: skip
