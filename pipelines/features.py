"""Features: accepted partitions -> buckets, overlap and regime labels -> the estimators' panel.

`build` is a pure function of one date's accepted partitions; `label` reads the trailing dates'
buckets, never a later one.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import duckdb
import numpy as np

from crossimpact import contract
from crossimpact.errors import EstimationError
from crossimpact.estimate.design import Panel
from pipelines.config import Settings
from pipelines.warehouse import Manifest, Warehouse, sql, text_sha256

#: Regime labels compare with this many trailing dates, the labelled one included.
TRAILING_DATES = 20
#: Calm is this quantile of what was seen; stress is entered and left at these log ratios to calm.
REGIME_PARAMETERS = {"calm_quantile": 0.4, "enter": 0.5, "leave": 0.3}
#: The vwap of a bucket the desk traded both ways prices neither side; a mid return prices both.
MIN_NET_SHARE = {"own": 0.5, "public": 0.0}
#: Accepted tables a bucket is made of.
SOURCES = ("instruments", "market_snapshots", "child_fills", "peer_flow", "public_trades")


def build(settings: Settings, date: str) -> dict[str, Any]:
    """Publish `buckets` and `overlap` of one date; a date whose inputs did not change is kept."""
    warehouse = Warehouse(settings)
    flow_query = sql(f"features/flow_{settings.flow}")
    queries = {name: sql(f"features/{name}") for name in ("buckets", "overlap")}
    inputs = _accepted_digests(warehouse, date)
    inputs["sql"] = text_sha256(flow_query, *queries.values())
    kept = warehouse.manifest(settings.feature_layer, "overlap", date)
    if kept is None or kept.inputs != inputs:
        with warehouse.connect() as connection:
            for table in SOURCES:
                _view(connection, warehouse, table, date)
            parameters = {"bucket_s": settings.bucket_s}
            _table(connection, "flow", flow_query, parameters)
            parameters["max_age_s"] = contract.MAX_SNAPSHOT_AGE_S
            for name, query in queries.items():
                _table(connection, name, query, parameters if name == "buckets" else {})
                warehouse.publish(
                    connection, f"SELECT * FROM {name}", settings.feature_layer, name, date,
                    inputs=inputs,
                )  # fmt: skip
    return _rows(warehouse.manifest(settings.feature_layer, "buckets", date))


def label(settings: Settings, dates: Sequence[str]) -> dict[str, Any]:
    """Publish the regime labels of `dates`, each from its own trailing dates."""
    warehouse, query = Warehouse(settings), sql("features/regimes")
    known = warehouse.dates(settings.feature_layer, "buckets")
    for date in dates:
        trailing = [other for other in known if other <= date][-TRAILING_DATES:]
        manifests = [warehouse.manifest(settings.feature_layer, "buckets", d) for d in trailing]
        inputs = {m.date: m.sha256 for m in manifests if m} | {
            "sql": text_sha256(query, str(REGIME_PARAMETERS))
        }
        kept = warehouse.manifest(settings.feature_layer, "regimes", date)
        if kept is not None and kept.inputs == inputs:
            continue
        with warehouse.connect() as connection:
            _partitions(connection, "buckets", warehouse, settings, trailing)
            parameters = {"date": datetime.date.fromisoformat(date), **REGIME_PARAMETERS}
            _table(connection, "regimes", query, parameters)
            warehouse.publish(
                connection, "SELECT * FROM regimes", settings.feature_layer, "regimes", date,
                inputs=inputs,
            )  # fmt: skip
    return {"dates": list(dates)}


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
            _partitions(connection, name, warehouse, settings, dates)
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

    def wide(name: str, missing: float) -> np.ndarray:
        values = np.ma.filled(np.ma.asarray(cells[name], dtype=float), np.nan)
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


def _accepted_digests(warehouse: Warehouse, date: str) -> dict[str, str]:
    manifests = (warehouse.manifest("accepted", table, date) for table in SOURCES)
    return {manifest.table: manifest.sha256 for manifest in manifests if manifest}


def _view(
    connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, table: str, date: str
) -> None:
    """The accepted partition as a table of its name; an absent one is empty."""
    columns = contract.TABLES[table].columns
    declared = ", ".join(f"{c.name} {contract.SQL_TYPE[c.type]}" for c in columns)
    connection.execute(f"CREATE TABLE {table} ({declared})")
    for file in warehouse.files("accepted", table, [date]):
        connection.execute(
            f"INSERT INTO {table} BY NAME SELECT * FROM read_parquet(?, hive_partitioning = false)",
            [file],
        )


def _partitions(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    warehouse: Warehouse,
    settings: Settings,
    dates: Iterable[str],
) -> None:
    """The feature partitions of `dates` as one table with a `date` column from their folders."""
    files = warehouse.files(settings.feature_layer, name, dates)
    connection.execute(
        f"CREATE TABLE {name} AS SELECT * FROM read_parquet(?, hive_partitioning = true, "
        "hive_types = {'date': DATE})",
        [files],
    )


def _table(
    connection: duckdb.DuckDBPyConnection, name: str, query: str, parameters: dict[str, Any]
) -> None:
    connection.execute(f"CREATE TABLE {name} AS {query}", parameters)


def _rows(manifest: Manifest | None) -> dict[str, Any]:
    return asdict(manifest) if manifest else {}
