"""Daily TCA: every order's shortfall, split into its causes and held against the model.

The marts are made in `tca_marts` and declared in `tca_tables`. What a rerun would not change is not
recomputed: every mart names the digests it was made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossimpact import json_log
from crossimpact.errors import CrossImpactError, UsageError
from crossimpact.progress import tell
from crossimpact.release.bundle import Release
from pipelines import features, plan, tca_booking, tca_marts, validate
from pipelines.calibration import DATES, WEEK, Calibration, dates_until
from pipelines.pages import reports
from pipelines.pricing import Pricing, as_of
from pipelines.store.landing import Landing
from pipelines.store.provenance import code_digest
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Manifest, Warehouse
from pipelines.tca_columns import CAUSES, PARTS
from pipelines.tca_day import extent
from pipelines.tca_marts import ACCEPTED, FEATURES, LAYER, OPTIONAL
from pipelines.tca_tables import TABLES


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
        tca_marts.build(warehouse, date, pricing, inputs)
    tell("tca page", date)
    page = reports.build(settings, date, pricing, reports.inputs_digest(inputs))
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
    for other in dates_until(warehouse, date, DATES + WEEK):
        for table in FEATURES:
            before = warehouse.manifest(layer, table, other)
            inputs[f"{layer}/{table}/{other}"] = before.sha256 if before else "none"
    for layer, table in reports.quality_partitions(warehouse, date):
        manifest = warehouse.manifest(layer, table, date)
        inputs[f"{layer}/{table}"] = manifest.sha256 if manifest else "none"
    for table in OPTIONAL:
        manifest = warehouse.manifest("accepted", table, date)
        inputs[f"accepted/{table}"] = manifest.sha256 if manifest else "none"
    return (
        inputs
        | dict(tca_booking.inputs(warehouse, date))
        | {
            "pricing": pricing.digest,
            "code": code_digest(__name__),
        }
    )


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
