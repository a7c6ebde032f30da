"""Stored rows of the second moments: what a day adds to the estimators' sums, kept as partitions.

`moments_linear` and `moments_sqrt` in the feature layer hold, per trading date and regime, the
arrays of `weighted_rows.WeightedRows`: a number per bucket and name for each of six columns, where
the sums themselves would be nine per pair of names. A partition is a pure function of its date's
buckets and labels, and sums run over days, so a later refit makes the new days only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from crossimpact.errors import CrossImpactError, EstimationError
from crossimpact.estimate import weighted_rows
from crossimpact.estimate.weighted_rows import TRANSFORMS, WeightedRows
from crossimpact.model import Transform
from crossimpact.progress import each
from pipelines import features
from pipelines.store.provenance import code_digest
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

SOURCES = ("buckets", "regimes")
#: One row per regime and array: its shape, and its numbers as little-endian float64 in C order.
SCHEMA = pa.schema(
    [
        ("regime", pa.string()),
        ("symbols", pa.list_(pa.string())),
        ("name", pa.string()),
        ("shape", pa.list_(pa.int64())),
        ("data", pa.binary()),
    ]
)
FLOAT = np.dtype("<f8")


def prepare(
    settings: Settings, dates: Sequence[str], transforms: Sequence[Transform] = TRANSFORMS
) -> dict[str, Any]:
    """Publish the moments of `dates`; a date whose inputs did not change is kept.

    Raises
    ------
    CrossImpactError
        When a date has no features.
    """
    warehouse = Warehouse(settings)
    stage = f"moments {', '.join(transforms)}"
    made = [date for date in each(stage, dates) if _build(settings, warehouse, date, transforms)]
    return {"dates": list(dates), "made": made}


def made(
    settings: Settings, dates: Sequence[str], transform: Transform
) -> Iterator[tuple[str, Mapping[str, WeightedRows]]]:
    """`stream` of moments that are made first where nobody asked for the transform so far."""
    prepare(settings, dates, (transform,))
    return stream(settings, dates, transform)


def stream(
    settings: Settings, dates: Sequence[str], transform: Transform
) -> Iterator[tuple[str, Mapping[str, WeightedRows]]]:
    """Each date with its rows per regime, in the order of `dates`, one date in memory at a time.

    Raises
    ------
    CrossImpactError
        When a date's moments were never made, or its features changed since.
    """
    warehouse = Warehouse(settings)
    for date in dates:
        yield date, _read(settings, warehouse, date, transform)


def _table(transform: Transform) -> str:
    return f"moments_{transform}"


def _inputs(settings: Settings, warehouse: Warehouse, date: str) -> dict[str, str]:
    """Digests of all that a date's moments depend on: its features, and the code that sums them."""
    digests = {}
    for source in SOURCES:
        manifest = warehouse.manifest(settings.feature_layer, source, date)
        if manifest is None:
            raise CrossImpactError(f"date {date} has no {source}", "build its features first")
        digests[source] = manifest.sha256
    return digests | {"code": code_digest(__name__)}


def _build(
    settings: Settings, warehouse: Warehouse, date: str, transforms: Sequence[Transform]
) -> bool:
    """Whether anything of the date had to be made."""
    layer, inputs = settings.feature_layer, _inputs(settings, warehouse, date)
    kept = {t: warehouse.manifest(layer, _table(t), date) for t in transforms}
    stale = [t for t, manifest in kept.items() if manifest is None or manifest.inputs != inputs]
    if not stale:
        return False
    try:
        panel = features.load_panel(settings, [date])
    except EstimationError:  # no book all day long: nothing to sum
        panel = None
    for transform in stale:
        with threadpool_limits(limits=1):  # the same digits whatever the machine's cores
            days = {} if panel is None else weighted_rows.day_rows(panel, transform)
        with warehouse.connect() as connection:
            connection.register("moments", _table_of(days))
            query = "SELECT * FROM moments"
            warehouse.publish(connection, query, layer, _table(transform), date, inputs=inputs)
    return True


def _table_of(days: Mapping[str, WeightedRows]) -> pa.Table:
    arrays = [
        {
            "regime": regime,
            "symbols": list(rows.symbols),
            "name": name,
            "shape": list(array.shape),
            "data": array.astype(FLOAT).tobytes(),
        }
        for regime, rows in sorted(days.items())
        for name, array in rows.arrays().items()
    ]
    return pa.Table.from_pylist(arrays, schema=SCHEMA)


def _read(
    settings: Settings, warehouse: Warehouse, date: str, transform: Transform
) -> dict[str, WeightedRows]:
    manifest = warehouse.manifest(settings.feature_layer, _table(transform), date)
    if manifest is None or manifest.inputs != _inputs(settings, warehouse, date):
        raise CrossImpactError(
            f"the {_table(transform)} of {date} are missing or older than its features",
            "rerun the refit",
        )
    with warehouse.connect() as connection:
        warehouse.attach(connection, settings.feature_layer, manifest.table, [date], view=True)
        columns = ", ".join(SCHEMA.names)
        result = connection.execute(f"SELECT {columns} FROM {manifest.table}").fetchall()
    regimes = dict.fromkeys(row[0] for row in result)
    return {regime: _day([row for row in result if row[0] == regime]) for regime in regimes}


def _day(rows: Sequence[tuple[Any, ...]]) -> WeightedRows:
    """One regime's rows; its arrays view the bytes read and are read-only."""
    symbols = rows[0][1]
    arrays: dict[str, Any] = {
        name: np.frombuffer(data, dtype=FLOAT).reshape(shape) for *_, name, shape, data in rows
    }
    return WeightedRows(symbols=tuple(symbols), **arrays)
