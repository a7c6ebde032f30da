"""Features: accepted partitions -> buckets, overlap and regime labels -> the estimators' panel.

`build` is a pure function of one date's accepted partitions; `label` reads the trailing dates'
buckets, never a later one.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import duckdb
import numpy as np

from crossimpact import contract
from crossimpact.errors import CrossImpactError, EstimationError
from crossimpact.model import Array
from crossimpact.panel import Panel
from crossimpact.progress import each
from pipelines import validate
from pipelines.store.landing import Landing
from pipelines.store.provenance import code_digest
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Manifest, Warehouse, sql

#: Regime labels compare with this many trailing dates, the labelled one included.
TRAILING_DATES = 20
#: The session's usual shape is this quantile of the earlier dates': the middle of the calm when a
#: fifth is stressed. One date gives half of it. A date's own calm is a low quantile of what was
#: seen of it, at most two sd between days above the usual one; that sd starts at 0.1, worth five
#: dates. Noise in log units: what a level strays without any stress, and what is unknown of the
#: shape on the first date. Stress is entered and left at these sd of the noise: three calm
#: components add up to the upper hardly ever, stressed ones to the lower seldom.
REGIME_PARAMETERS = {
    "calm_quantile": 0.4, "shape_dates": 1, "day_quantile": 0.2, "day_prior": 0.1,
    "prior_dates": 5, "day_limit": 2.0, "noise_floor": 0.05, "noise_prior": 0.2,
    "enter": 3.5, "leave": 2.5,
}  # fmt: skip
#: A session's first bucket may start at a snapshot this much after its start.
OPENING_S = 10
#: The vwap of a bucket the desk traded both ways prices neither side; a mid return prices both.
MIN_NET_SHARE = {"own": 0.5, "public": 0.0}
#: Accepted tables a bucket is made of.
SOURCES = ("instruments", "market_snapshots", "peer_flow")
FLOW_SOURCE = {"own": "child_fills", "public": "public_trades"}


def prepare(settings: Settings, landing: Landing, dates: Sequence[str]) -> None:
    """Buckets and labels of accepted `dates`, and the buckets their labels look back on."""
    read = readable(settings, landing, dates)
    build_dates(settings, read)
    label(settings, dates, read)


def readable(settings: Settings, landing: Landing, dates: Sequence[str]) -> list[str]:
    """`dates` and the landed dates their labels look back on, without those that are blocked.

    Taken from the landing zone, never from what a home happens to hold: the same landing gives the
    same labels in a fresh home and in a used one. One of `dates` itself that is blocked is read as
    an earlier landing left it, if that is live; whoever asked for it was told.
    """
    landed = landing.all_dates()
    wanted = {other for date in dates for other in _trailing(landed, date)}
    reports = validate.validate_dates(settings, landing, sorted(wanted))
    blocked = {report.date for report in reports if report.problems}
    kept = {date for date in blocked & {*dates} if Warehouse(settings).day(date)}
    return [report.date for report in reports if report.date not in blocked - kept]


def _trailing(dates: Sequence[str], date: str) -> list[str]:
    return [other for other in dates if other <= date][-TRAILING_DATES:]


def build(settings: Settings, date: str) -> dict[str, Any]:
    """Publish `buckets` and `overlap` of one date; a date whose inputs did not change is kept.

    Raises
    ------
    CrossImpactError
        When the date's tables are not accepted.
    """
    warehouse, layer = Warehouse(settings), settings.feature_layer
    flow_query = sql(f"features/flow_{settings.flow}")
    queries = {name: sql(f"features/{name}") for name in ("buckets", "overlap")}
    inputs = _accepted(warehouse, settings, date)
    inputs["code"] = code_digest(__name__)
    kept = [warehouse.manifest(layer, name, date) for name in queries]
    if any(manifest is None or manifest.inputs != inputs for manifest in kept):
        with warehouse.connect() as connection:
            for table in (*SOURCES, FLOW_SOURCE[settings.flow]):
                _view(connection, warehouse, table, date)
            parameters = {"bucket_s": settings.bucket_s}
            _table(connection, "flow", flow_query, parameters)
            parameters |= {"max_age_s": contract.MAX_SNAPSHOT_AGE_S, "opening_s": OPENING_S}
            for name, query in queries.items():
                _table(connection, name, query, parameters if name == "buckets" else {})
            fills, usd = connection.execute(sql("features/unplaced")).fetchone() or (0, 0.0)
            extra = {"unplaced": {"fills": int(fills), "usd": float(usd)}}
            for name in queries:
                query = f"SELECT * FROM {name}"
                warehouse.publish(connection, query, layer, name, date, inputs=inputs, extra=extra)
    manifest = warehouse.manifest(layer, "buckets", date)
    return asdict(manifest) if manifest else {}


def build_dates(settings: Settings, dates: Sequence[str]) -> None:
    """`build` of dates, one after the other."""
    for date in each("features", dates):
        build(settings, date)


def label(settings: Settings, dates: Sequence[str], read: Sequence[str]) -> dict[str, Any]:
    """Publish the regime labels of `dates`, each from the trailing ones of the dates `read`."""
    warehouse, query = Warehouse(settings), sql("features/regimes")
    for date in each("regime labels", dates):
        trailing = _trailing(read, date)
        manifests = [_buckets(warehouse, settings, other) for other in trailing]
        inputs = {m.date: m.sha256 for m in manifests}
        inputs["code"] = code_digest(__name__)
        kept = warehouse.manifest(settings.feature_layer, "regimes", date)
        if kept is not None and kept.inputs == inputs:
            continue
        with warehouse.connect() as connection:
            warehouse.attach(connection, settings.feature_layer, "buckets", trailing, dated=True)
            parameters = {"date": datetime.date.fromisoformat(date), **REGIME_PARAMETERS}
            _table(connection, "regimes", query, parameters)
            warehouse.publish(
                connection, "SELECT * FROM regimes", settings.feature_layer, "regimes", date,
                inputs=inputs,
            )  # fmt: skip
    return {"dates": list(dates)}


def unplaced(settings: Settings, dates: Sequence[str]) -> dict[str, float]:
    """Fills (prints) that no bucket could price, and their notional: no fit has seen them."""
    warehouse = Warehouse(settings)
    rows = [_buckets(warehouse, settings, date).extra["unplaced"] for date in dates]
    return {"fills": sum(row["fills"] for row in rows), "usd": math.fsum(r["usd"] for r in rows)}


def _buckets(warehouse: Warehouse, settings: Settings, date: str) -> Manifest:
    manifest = warehouse.manifest(settings.feature_layer, "buckets", date)
    if manifest is None:
        raise CrossImpactError(f"date {date} has no {settings.feature_layer}", "build them first")
    return manifest


def load_panel(settings: Settings, dates: Sequence[str]) -> Panel:
    """The estimators' panel over the dates' features.

    Raises
    ------
    EstimationError
        When no bucket of any symbol has a book at both ends.
    """
    warehouse = Warehouse(settings)
    with warehouse.connect() as connection:
        for name in ("buckets", "regimes"):
            warehouse.attach(connection, settings.feature_layer, name, dates, dated=True)
        share = {"min_net_share": MIN_NET_SHARE[settings.flow]}
        cells = connection.execute(sql("features/panel"), share).fetchnumpy()
    if not len(cells["t"]):
        raise EstimationError(
            f"no bucket between {dates[0]} and {dates[-1]} has a fresh book at both ends",
            "check the snapshots' coverage and the bucket width",
        )
    return _pivot(cells)


def _pivot(cells: dict[str, Any]) -> Panel:
    """Long cells to (T, n) arrays; a symbol's ADV and sector are its latest."""
    t, i = np.asarray(cells["t"], dtype=int), np.asarray(cells["i"], dtype=int)
    shape = (int(t[-1]) + 1, int(i.max()) + 1)

    def wide(name: str, missing: float) -> Array:
        values: Array = np.ma.filled(np.ma.asarray(cells[name], dtype=float), np.nan)
        array = np.full(shape, missing)
        array[t, i] = np.where(np.isnan(values), missing, values)
        return array

    first_of_t = np.unique(t, return_index=True)[1]
    last_of_i = len(i) - 1 - np.unique(i[::-1], return_index=True)[1]
    return Panel(
        ts=np.asarray(cells["ts"])[first_of_t].astype("datetime64[us]"),
        date=np.asarray(cells["date"])[first_of_t].astype(str),
        regime=np.asarray(cells["regime"])[first_of_t].astype(str),
        symbols=tuple(np.asarray(cells["symbol"])[last_of_i].astype(str).tolist()),
        sectors=tuple(np.asarray(cells["sector"])[last_of_i].astype(str).tolist()),
        adv=np.asarray(cells["adv_notional"], dtype=float)[last_of_i],
        q=wide("q_adv", 0.0),
        s=wide("s_bps", np.nan),
        move=wide("move_bps", np.nan),
        sector_flow=wide("sector_flow_adv", 0.0),
        factor_flow=wide("factor_flow_adv", 0.0),
    )


def _accepted(warehouse: Warehouse, settings: Settings, date: str) -> dict[str, str]:
    """Digests of the accepted partitions a date's buckets are made of."""
    digests = {}
    for table in (*SOURCES, FLOW_SOURCE[settings.flow]):
        manifest = warehouse.manifest("accepted", table, date)
        if manifest:
            digests[table] = manifest.sha256
        elif not contract.TABLES[table].optional:
            raise CrossImpactError(
                f"{table} of {date} is not accepted", "run `crossimpact validate` on its landing"
            )
    return digests


def _view(
    connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, table: str, date: str
) -> None:
    """The accepted partition as a table of its name; an absent one is empty."""
    if warehouse.manifest("accepted", table, date):
        warehouse.attach(connection, "accepted", table, [date])
    else:
        columns = contract.TABLES[table].columns
        declared = ", ".join(f"{c.name} {contract.SQL_TYPE[c.type]}" for c in columns)
        connection.execute(f"CREATE TABLE {table} ({declared})")


def _table(
    connection: duckdb.DuckDBPyConnection, name: str, query: str, parameters: dict[str, Any]
) -> None:
    connection.execute(f"CREATE TABLE {name} AS {query}", parameters)
