"""The marts of a date, made in one connection: queries in the order they read each other.

What the library knows of a day (whose flow moved the mids, what is noise) is registered as
relations; the money is summed in `sql/marts/` as exact decimals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import duckdb
import pyarrow as pa

from crossimpact import contract
from crossimpact.errors import CrossImpactError
from crossimpact.model import ImpactModel
from crossimpact.schema import SQL_TYPE
from crossimpact.tca import PairCost, pair_costs, predict
from pipelines import tca_booking, tca_scopes
from pipelines.calibration import (
    DATES,
    WEEK,
    Calibration,
    dates_until,
    in_stress,
    recent,
    rows,
)
from pipelines.hot_pairs import hot_pairs
from pipelines.pricing import Pricing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, scalar, sql
from pipelines.tca_columns import INSIDE, PARTS
from pipelines.tca_day import Causes, Day, causes, levels, own_left, predictions, read_day
from pipelines.tca_noise import Exposures
from pipelines.tca_tables import TABLES

LAYER = "marts"
ACCEPTED = ("parent_orders", "child_fills", "market_snapshots", "benchmark_marks", "instruments")
OPTIONAL = ("public_trades",)
FEATURES = ("buckets", "regimes")
#: Modelled cost of a pair's, or a fill's, bucket from which a rule counts as broken, bps.
STAGGER_BPS = 5.0
CALIBRATED = pa.schema(
    [(name, pa.string()) for name in ("scope", "name")]
    + [(name, pa.float64()) for name in ("slope", "se", "low", "high")]
    + [(name, pa.int64()) for name in ("buckets", "dates", "in_sample_dates")]
    + [(name, pa.float64()) for name in ("coverage", "day_slope", "slope_before")]
    + [(name, pa.float64()) for name in ("low_before", "high_before")]
    + [("alarm", pa.bool_())]
)
HOT = pa.schema(
    [(name, pa.string()) for name in ("symbol_i", "symbol_j")]
    + [(name, pa.int64()) for name in ("days_in_top20", "days_seen")]
)


@dataclass(frozen=True)
class Priced:
    """A date with the models that price it, by the keys of its buckets' regimes."""

    day: Day
    models: Mapping[str, ImpactModel]
    plain: Mapping[str, str]
    found: Causes


def build(warehouse: Warehouse, date: str, pricing: Pricing, inputs: Mapping[str, str]) -> None:
    """Publish the marts of `date`, all made from `inputs`."""
    with warehouse.connect() as connection:
        _views(connection, warehouse, date)
        tca_booking.book(connection, warehouse, date)
        priced = _priced(connection, pricing)
        connection.register("releases", pricing.relation())
        recent = _recent(warehouse, date, pricing)
        connection.register("hot", recent.hot)
        _money(connection, warehouse.settings, tca_booking.dates(warehouse, date), priced)
        connection.register("tca_calibration", recent.calibration)
        for name, table in TABLES.items():
            warehouse.publish(
                connection, table.query(name), LAYER, name, date, inputs=inputs,
                extra=recent.extra | {"unpriced": list(priced.found.prediction.unpriced)},
            )  # fmt: skip


@dataclass(frozen=True)
class Recent:
    """What the last dates say: calibration by scope, names of hot pairs, and for the manifests."""

    calibration: pa.Table
    hot: pa.Table
    extra: dict[str, Any]


def _recent(warehouse: Warehouse, date: str, pricing: Pricing) -> Recent:
    """Of the release that heads the page, on the last dates' features."""
    release, settings = pricing.main.release, warehouse.settings
    dates = dates_until(warehouse, date, DATES + WEEK)
    panel = recent(settings, release, dates)
    told = rows(release, panel, dates)
    slope = Calibration.of(told, release, dates[-DATES:])
    extra = {"calibration": slope.to_dict(), "in_stress": in_stress(told)}
    found = hot_pairs(release, panel, dates[-DATES:])
    return Recent(
        pa.Table.from_pylist([vars(row) for row in told], CALIBRATED),
        pa.Table.from_pylist([vars(pair) for pair in found], HOT),
        extra,
    )


def _views(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, date: str) -> None:
    """The date's accepted and feature partitions under their own names."""
    layers = chain(
        (("accepted", table) for table in ACCEPTED),
        ((warehouse.settings.feature_layer, table) for table in FEATURES),
    )
    for layer, table in layers:
        warehouse.attach(connection, layer, table, [date], view=True)
    for table in OPTIONAL:
        if warehouse.manifest("accepted", table, date):
            warehouse.attach(connection, "accepted", table, [date], view=True)
        else:
            columns = contract.TABLES[table].columns
            declared = ", ".join(f"{c.name} {SQL_TYPE[c.type]}" for c in columns)
            connection.execute(f"CREATE TABLE {table} ({declared})")


def _priced(connection: duckdb.DuckDBPyConnection, pricing: Pricing) -> Priced:
    """The date's flow, and what the releases say of it."""
    day = read_day(connection)
    keys, models, labels = pricing.answers(day.regimes, day.moments)
    plain = dict(zip(keys, day.regimes, strict=True))
    day = replace(day, regimes=keys)
    prediction = predict(models, keys, day.q, day.symbols, labels)
    return Priced(day, models, plain, causes(day, prediction, models))


def _money(
    connection: duckdb.DuckDBPyConnection, settings: Settings, dates: Sequence[str], priced: Priced
) -> None:
    """Run the queries in the order they read each other; `dates` end with the one analysed."""
    day, found, date = priced.day, priced.found, dates[-1]
    bucket: dict[str, Any] = {"bucket_s": settings.bucket_s}
    fresh = {"max_age_s": contract.MAX_SNAPSHOT_AGE_S}

    def ask(name: str, values: Mapping[str, Any] | None = None) -> None:
        query = sql(f"{LAYER}/tca_{name.removeprefix('tca_')}")
        connection.execute(f"CREATE TEMP TABLE {name} AS\n{query}", values or {})

    ask("order_flow", bucket)
    flows = connection.sql("FROM order_flow").to_arrow_table()
    connection.register("predictions", predictions(day, found.prediction, priced.models))
    connection.register("levels", levels(day, found))
    connection.register("own", own_left(day, found, priced.models, flows))
    ask("struck", {"date": date} | bucket | fresh)
    ask("tca_fills", bucket | fresh)
    ask("exposure", bucket)
    exposures = Exposures.of(day, connection.sql("FROM exposure").to_arrow_table())
    sd = exposures.sd(day, found, exposures.orders.tolist())
    connection.register("noise", _noise(sd))
    connection.register("pairs", _pairs(priced, exposures))
    ask("benchmarks", fresh)
    for name in ("tca_orders", "tca_path", "tca_buckets", "tca_pairs"):
        ask(name)
    ask("tca_order_life", {"date": date, "dates": list(dates)})
    ask("tca_breaches", {"least_bps": STAGGER_BPS})
    ask("tca_markouts", bucket | fresh)
    tca_scopes.register(connection, day, found, exposures)
    ask("tca_daily", {"date": date})
    assert_identity(connection)


def assert_identity(connection: duckdb.DuckDBPyConnection) -> None:
    """Refuse marts whose parts do not add up, to the micro-dollar, anywhere.

    Raises
    ------
    CrossImpactError
        Naming the mart and how many rows do not close.
    """
    for name in ("tca_fills", "tca_orders", "tca_daily"):
        parts = [p for p in PARTS if f"{p}_usd" in TABLES[name].names]
        closes = [f"total_usd = {_sum(parts)}"]
        closes += [f"{part}_usd = {_sum(INSIDE[part])}" for part in parts]
        open_rows = " OR ".join(f"NOT ({close})" for close in closes)
        bad = scalar(connection, f"SELECT count(*) FROM {name} WHERE {open_rows}")
        if bad:
            raise CrossImpactError(
                f"{bad} rows of {name} do not add up to their total", "report it: this is a defect"
            )


def _sum(names: tuple[str, ...] | list[str]) -> str:
    return " + ".join(f"{name}_usd" for name in names)


def _noise(sd: Mapping[str, float]) -> pa.Table:
    known = {order: value for order, value in sd.items() if value == value}
    return pa.table(
        {
            "order_id": pa.array(list(known), pa.string()),
            "residual_sd_usd": pa.array(list(known.values()), pa.float64()),
        }
    )


PAIRS = pa.schema(
    [(name, pa.string()) for name in ("symbol_i", "symbol_j", "sector_i", "sector_j", "regime")]
    + [(name, pa.float64()) for name in ("now_usd", "carried_usd", "gamma_ij", "gamma_ji")]
)


def _pairs(priced: Priced, exposures: Exposures) -> pa.Table:
    day, models = priced.day, priced.models
    exposure = exposures.by_name(day)
    costs = pair_costs(models, day.regimes, day.q, day.symbols, day.adv, exposure)
    return pa.Table.from_pylist([_pair(cost, priced.plain) for cost in costs], PAIRS)


def _pair(cost: PairCost, plain: Mapping[str, str]) -> dict[str, Any]:
    return {**vars(cost), "regime": plain[cost.regime]}
