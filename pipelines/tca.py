"""Daily TCA: the shortfall of every parent order, split five ways and held against the model.

The money is summed in `sql/marts/` as exact decimals; the model's share of it comes from
`crossimpact.tca` as a relation of price moves per bucket and symbol. What a rerun would not change
is not recomputed: every mart names the digests it was made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from crossimpact import contract, json_log
from crossimpact.errors import CrossImpactError, UsageError
from crossimpact.progress import tell
from crossimpact.release.bundle import Release
from crossimpact.tca import pair_costs, predict
from pipelines import features, plan, validate
from pipelines.calibration import Calibration, calibration, dates_until
from pipelines.pages import reports
from pipelines.pricing import Pricing, as_of
from pipelines.store.landing import Landing
from pipelines.store.provenance import code_digest
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Manifest, Warehouse, sql, text_sha256
from pipelines.tca_day import carried, extent, predictions, read_day
from pipelines.tca_tables import CAUSES, PARTS, TABLES, USD, Table

LAYER = "marts"
ACCEPTED = ("parent_orders", "child_fills", "market_snapshots", "benchmark_marks", "instruments")
FEATURES = ("buckets", "regimes")
TOP_PAIRS = 20


@dataclass(frozen=True)
class Result:
    """What one date's TCA found.

    Attributes
    ----------
    date, release_id
        The date and the release that priced it.
    recomputed
        False when every mart was already made from the same inputs.
    rows
        Rows per mart.
    split
        Per part of the shortfall, and for the total: `usd` and `bps` of the notional ordered.
    summary
        The row of `tca_daily`.
    calibration
        Of the last dates, `pipelines.calibration.Calibration`.
    unpriced
        Symbols traded in a regime whose model does not know them.
    report
        The page.
    in_sample
        Whether the release was fitted on a window with this date: no evidence for it.
    note
        What to know besides: the release had expired by that date or was not live yet, the date's
        rows are stale.
    """

    date: str
    release_id: str
    recomputed: bool
    rows: dict[str, int]
    split: dict[str, dict[str, float | None]]
    summary: dict[str, Any]
    calibration: Calibration
    unpriced: list[str]
    report: Path
    in_sample: bool = False
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "report": str(self.report)}


def run(settings: Settings, landing_root: Path, date: str, pricing: Pricing) -> Result:
    """Build the marts of `date`, priced by the releases of `pricing`, and its report.

    Raises
    ------
    UsageError
        When a release speaks of other buckets, or the desk's flow is not in these settings.
    CrossImpactError
        When the date was not validated or has no features.
    """
    warehouse = Warehouse(settings)
    for span in pricing.spans:
        _check_release(settings, span.release)
    inputs = _inputs(warehouse, landing_root, date, pricing)
    recomputed = not _is_current(warehouse, date, inputs)
    if recomputed:
        tell("tca marts", date)
        build_marts(warehouse, date, pricing, inputs)
    tell("tca page", date)
    page = reports.build(settings, date, pricing, text_sha256(*map(str, inputs.items())))
    return _result(warehouse, date, pricing, recomputed, page)


def run_as_of(settings: Settings, landing_root: Path, date: str) -> Result:
    """`run` with what was live at the time, after validating the date and building its features.

    Raises
    ------
    StaleModel
        When no release was ever promoted.
    ContractViolation
        When the date's data are blocked.
    """
    pricing = as_of(settings, date)
    json_log.know(release=pricing.main.release.digest)
    settings = plan.matching(settings, pricing.main.release)
    landing = Landing(landing_root)
    stale = validate.accept(settings, landing, [date])
    features.prepare(settings, landing, [date])
    pricing = pricing.within(*extent(Warehouse(settings), date)).noting(stale)
    return run(settings, landing_root, date, pricing)


def _check_release(settings: Settings, release: Release) -> None:
    if settings.flow != "own":
        raise UsageError(
            f"TCA prices the desk's own parent orders, not {settings.flow} flow",
            "use --flow own on a landing with parent_orders",
        )
    if release.bucket_s != settings.bucket_s:
        raise UsageError(
            f"release {release.id} was fitted on buckets of {release.bucket_s} s, "
            f"the features have {settings.bucket_s} s",
            f"use --bucket {release.bucket_s}s",
        )


def _inputs(
    warehouse: Warehouse,
    landing_root: Path,
    date: str,
    pricing: Pricing,
) -> dict[str, str]:
    """Digest of everything the marts and the page are made from."""
    inputs = _accepted(warehouse, landing_root, date)
    layer = warehouse.settings.feature_layer
    for table in FEATURES:
        manifest = warehouse.manifest(layer, table, date)
        if manifest is None:
            raise CrossImpactError(
                f"no features {table} of {date} in layer {layer}", "build the features first"
            )
        inputs[f"{layer}/{table}"] = manifest.sha256
    for other in dates_until(warehouse, date):
        for table in FEATURES:
            before = warehouse.manifest(layer, table, other)
            inputs[f"{layer}/{table}/{other}"] = before.sha256 if before else "none"
    for layer, table in reports.quality_partitions(warehouse, date):
        manifest = warehouse.manifest(layer, table, date)
        inputs[f"{layer}/{table}"] = manifest.sha256 if manifest else "none"
    return inputs | {
        "pricing": pricing.digest,
        "code": code_digest(__name__),
    }


def _accepted(warehouse: Warehouse, landing_root: Path, date: str) -> dict[str, str]:
    """Digests of the date's accepted partitions."""
    inputs = {}
    for table in ACCEPTED:
        manifest = warehouse.manifest("accepted", table, date)
        if manifest is None:
            raise CrossImpactError(
                f"no accepted {table} of {date}: TCA needs a validated date with parent orders",
                f"run `crossimpact validate {landing_root}` first",
            )
        inputs[f"accepted/{table}"] = manifest.sha256
    return inputs


def _is_current(warehouse: Warehouse, date: str, inputs: Mapping[str, str]) -> bool:
    result = (warehouse.manifest(LAYER, table, date) for table in TABLES)
    return all(manifest and manifest.inputs == inputs for manifest in result)


def build_marts(
    warehouse: Warehouse, date: str, pricing: Pricing, inputs: Mapping[str, str]
) -> None:
    """Publish the marts of `date`, all made from `inputs`."""
    with warehouse.connect() as connection:
        _views(connection, warehouse, date)
        day = read_day(connection)
        regimes = day.regimes
        keys, models, labels = pricing.answers(regimes, day.moments)
        day = replace(day, regimes=keys)
        prediction = predict(models, keys, day.q, day.symbols, labels)
        plain = dict(zip(keys, regimes, strict=True))
        pairs = [
            replace(pair, regime=plain[pair.regime])
            for pair in pair_costs(models, keys, day.q, day.symbols, day.adv, TOP_PAIRS)
        ]
        connection.register("releases", pricing.relation())
        connection.register("predictions", predictions(day, prediction, models))
        connection.register("carried", carried(day, prediction, models))
        connection.register("pairs", pa.Table.from_pylist([asdict(p) for p in pairs], PAIRS))
        _query_marts(connection, warehouse.settings, date)
        main = pricing.main.release
        slope = calibration(warehouse.settings, main, dates_until(warehouse, date))
        extra = {"unpriced": list(prediction.unpriced), "calibration": slope.to_dict()}
        for name, table in TABLES.items():
            query = table.query(_widened(connection, table))
            warehouse.publish(connection, query, LAYER, name, date, inputs=inputs, extra=extra)


def _widened(connection: duckdb.DuckDBPyConnection, table: Table) -> str:
    """The mart's relation with every declared column: what nothing fills yet is null, money 0."""
    found = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = $name", {"name": table.name}
    ).fetchall()
    there = {name for (name,) in found}
    missing = [
        f"{'0' if c.type == USD else 'NULL'}::{c.type} AS {c.name}"
        for c in table.columns
        if c.name not in there
    ]
    if not there:
        return f"(SELECT {', '.join(missing)} LIMIT 0)"
    return f"(SELECT {', '.join(['*', *missing])} FROM {table.name})"


PAIRS = pa.schema(
    [(name, pa.string()) for name in ("symbol_i", "symbol_j", "sector_i", "sector_j", "regime")]
    + [(name, pa.float64()) for name in ("usd", "gamma_ij", "gamma_ji")]
)


def _views(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, date: str) -> None:
    """The date's accepted and feature partitions under their own names."""
    layers = chain(
        (("accepted", table) for table in ACCEPTED),
        ((warehouse.settings.feature_layer, table) for table in FEATURES),
    )
    for layer, table in layers:
        warehouse.attach(connection, layer, table, [date], view=True)


def _query_marts(connection: duckdb.DuckDBPyConnection, settings: Settings, date: str) -> None:
    """Run the queries in the order they read each other."""
    age = contract.MAX_SNAPSHOT_AGE_S
    parameters: dict[str, dict[str, Any]] = {
        "tca_fills": {"bucket_s": settings.bucket_s, "max_age_s": age},
        "tca_orders": {},
        "tca_path": {},
        "tca_buckets": {},
        "tca_pairs": {},
        "tca_markouts": {"bucket_s": settings.bucket_s, "max_age_s": age},
        "tca_daily": {"date": date},
    }
    for name, values in parameters.items():
        connection.execute(f"CREATE TEMP TABLE {name} AS\n{sql(f'{LAYER}/{name}')}", values)


def _result(
    warehouse: Warehouse, date: str, pricing: Pricing, recomputed: bool, page: Path
) -> Result:
    manifests = {table: _published(warehouse, table, date) for table in TABLES}
    summary = reports.read_mart(warehouse, "tca_daily", date)[0]
    plain = {
        name: float(value) if name.endswith(("_usd", "_bps")) and value is not None else value
        for name, value in summary.items()
    }
    extra = manifests["tca_daily"].extra
    return Result(
        date=date,
        release_id=summary["release_id"],
        recomputed=recomputed,
        rows={table: manifest.rows for table, manifest in manifests.items()},
        split={
            part: {"usd": plain[f"{part}_usd"], "bps": plain[f"{part}_bps"]}
            for part in ("total", *PARTS, "cross_realized", *CAUSES)
        },
        summary=plain,
        calibration=Calibration(**extra["calibration"]),
        unpriced=list(extra["unpriced"]),
        report=page,
        in_sample=pricing.in_sample,
        note="; ".join(filter(None, (str(pricing.main.facts.get("note", "")), *pricing.notes()))),
    )


def _published(warehouse: Warehouse, table: str, date: str) -> Manifest:
    manifest = warehouse.manifest(LAYER, table, date)
    if manifest is None:
        raise CrossImpactError(f"{table} of {date} vanished while being read", "rerun")
    return manifest
