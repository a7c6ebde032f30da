"""Tables for other systems, as CSV with a fixed header and a fixed order of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from crossimpact import contract
from crossimpact.errors import UsageError
from crossimpact.model import ImpactModel
from crossimpact.release.bundle import Release
from pipelines.audit import history
from pipelines.release import champion, resolve
from pipelines.store import csv_file
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, sql
from registry.tracking import CHAMPION

GAMMA_COLUMNS = ("regime", "symbol_i", "symbol_j", "gamma_bps", "se_bps")
#: Rows held at once while a large table is written.
FETCHED = 50_000
KERNEL_COLUMNS = ("regime", "lag_min", "g_self", "se_self", "g_cross", "se_cross")
#: Lags written of a kernel whose errors were not estimated at any, buckets.
LAGS = 25
SELF_COLUMNS = ("regime", "symbol", "alpha_bps", "beta_bps", "se_alpha", "se_beta")


@dataclass(frozen=True)
class Export:
    """A CSV file written from a release; `note` is what its columns cannot say."""

    path: str
    id: str
    rows: int
    note: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def export_gamma(settings: Settings, path: Path, release: str = CHAMPION) -> Export:
    """CSV of every ordered pair with a non-zero gamma (bps on i per unit of ADV fraction in j)."""
    return _export(settings, path, release, GAMMA_COLUMNS, _gamma_rows)


def export_self(settings: Settings, path: Path, release: str = CHAMPION) -> Export:
    """CSV of every symbol's alpha (bps) and beta (bps per unit of ADV fraction)."""
    return _export(settings, path, release, SELF_COLUMNS, _self_rows)


def export_kernel(settings: Settings, path: Path, release: str = CHAMPION) -> Export:
    """CSV of every regime's decay: ``scale g(lag)`` of self and cross, lags in minutes after the
    end of the bucket that pushed."""
    result = _exported(settings, release)
    models = list(_shipped(result))
    rows = (row for model in models for row in _kernel_rows(model))
    count = csv_file.write(path, KERNEL_COLUMNS, rows)
    bare = [model.regime for model in models if model.kernel is None]
    note = f"{', '.join(bare)}: no decay kernel, nothing is carried over" if bare else ""
    return Export(str(path), result.id, count, note)


def export_violations(settings: Settings, landing: Landing | None, path: Path) -> int:
    """Write `table,date,file,row,key,rule_id,severity`, a line per row and broken rule; count them.

    Parameters
    ----------
    landing
        Limits the export to its dates; None exports every published date.
    path
        The CSV to write. `file` is the landed file's name in its partition, `row` 0-based in it.

    Raises
    ------
    UsageError
        When nothing was ever validated under this home.
    """
    warehouse = Warehouse(settings)
    dates = {table: warehouse.dates("violations", table) for table in sorted(contract.TABLES)}
    if not any(dates.values()):
        raise UsageError(
            f"nothing was validated in {settings.home}", "run `crossimpact validate` first"
        )
    wanted = None if landing is None else set(landing.all_dates())
    with warehouse.connect() as connection:
        connection.execute(sql("validate/all_violations"))
        for table, published in dates.items():
            for date in published:
                if wanted is None or date in wanted:
                    warehouse.attach(connection, "violations", table, [date], view=True)
                    connection.execute(
                        "INSERT INTO all_violations"
                        f" SELECT $name, $date, parse_filename(file), row, key, rule_id, severity"
                        f" FROM {table}",
                        {"name": table, "date": date},
                    )
                    connection.execute(f"DROP VIEW {table}")
        query = 'SELECT * FROM all_violations ORDER BY "table", date, file, row, rule_id'
        return csv_file.write(path, *_result(connection, query))


def export_history(settings: Settings, path: Path) -> int:
    """Write every row that ever broke a rule, with value, place, and when by which run; count them.

    `file` is the path below the landing root, `status` open, released or superseded.

    Raises
    ------
    UsageError
        When the home has no ledger of audits.
    """
    with history.opened(settings) as connection:
        return csv_file.write(path, *_result(connection, sql("audit/export")))


def export_regimes(settings: Settings, path: Path) -> int:
    """Write `ts,regime` (bucket start, UTC, ISO 8601) of every labelled date; count them.

    Raises
    ------
    UsageError
        When no bucket of this flow and width was ever labelled.
    """
    warehouse = Warehouse(settings)
    dates = warehouse.dates(settings.feature_layer, "regimes")
    if not dates:
        raise UsageError(
            f"no bucket is labelled in {settings.feature_layer}", "run `crossimpact refit` first"
        )
    with warehouse.connect() as connection:
        warehouse.attach(connection, settings.feature_layer, "regimes", dates)
        query = (
            "SELECT strftime(ts, '%Y-%m-%dT%H:%M:%SZ') AS ts, regime FROM regimes"
            " ORDER BY regimes.ts"
        )
        return csv_file.write(path, *_result(connection, query))


def _result(
    connection: duckdb.DuckDBPyConnection, query: str
) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Names and rows, fetched as they are written."""
    cursor = connection.execute(query)
    names = [name for name, *_ in cursor.description or ()]
    return names, chain.from_iterable(iter(lambda: cursor.fetchmany(FETCHED), []))


def _export(
    settings: Settings,
    path: Path,
    release: str,
    columns: tuple[str, ...],
    rows_of: Callable[[ImpactModel], Iterable[tuple[str | float, ...]]],
) -> Export:
    result = _exported(settings, release)
    models = list(_shipped(result))
    rows = csv_file.write(path, columns, (row for model in models for row in rows_of(model)))
    return Export(str(path), result.id, rows, _note(models))


def _note(models: Iterable[ImpactModel]) -> str:
    """A number per unit of ADV fraction reads as linear; say where it is not."""
    concave = [model.regime for model in models if model.transform == "sqrt"]
    if not concave:
        return ""
    return (
        f"{', '.join(concave)}: square-root flow, gamma and beta are per unit of ADV fraction at "
        "the reference flow only (the release's model files hold it)"
    )


def _exported(settings: Settings, release: str) -> Release:
    if release != CHAMPION:
        return resolve(settings, release)[0]
    return champion(settings)[0]


def _shipped(release: Release) -> Iterator[ImpactModel]:
    for regime in sorted(release.models):
        model = release.model_for(regime)[0]
        if model is not None:
            yield model


def _gamma_rows(model: ImpactModel) -> Iterable[tuple[str | float, ...]]:
    names = model.symbols
    for i, j in np.argwhere(model.gamma):
        gamma, error = model.gamma[i, j], model.gamma_se[i, j]
        yield model.regime, names[i], names[j], float(gamma), float(error)


def _self_rows(model: ImpactModel) -> Iterable[tuple[str | float, ...]]:
    numbers = np.column_stack([model.alpha, model.beta, model.alpha_se, model.beta_se])
    for symbol, row in zip(model.symbols, numbers.tolist(), strict=True):
        yield (model.regime, symbol, *row)


def _kernel_rows(model: ImpactModel) -> Iterable[tuple[str | float, ...]]:
    if (kernel := model.kernel) is None:
        return
    known = kernel.errors
    lags = known.lags_min or tuple(kernel.bucket_min * k for k in range(LAGS))
    unknown = (float("nan"),) * len(lags)
    columns = (
        lags,
        kernel.value(lags).tolist(),
        known.se_self or unknown,
        known.se_cross or unknown,
    )
    for lag, g, se_self, se_cross in zip(*columns, strict=True):
        yield model.regime, lag, kernel.scale_self * g, se_self, kernel.scale_cross * g, se_cross
