"""Demo desk on disk: a landing zone in the contract's layout, and what is true of it."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crossimpact import contract
from crossimpact.atomic import move_folder, write_atomic
from crossimpact.errors import UsageError
from crossimpact.ladder import REGIMES
from crossimpact.model import Array, canonical_json, to_scaled
from crossimpact.progress import each
from crossimpact.simulate import (
    DeskSpec,
    Tables,
    Truth,
    plan_dirt,
    plan_market,
    simulate_day,
    spoil,
)
from pipelines.store.settings import Settings

FILE_NAME = "part-0.parquet"
_ARROW_TYPE: dict[contract.Type, pa.DataType] = {
    "str": pa.string(),
    "f64": pa.float64(),
    "i64": pa.int64(),
    "ts": pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True)
class Result:
    """What was written, with rows per table and how many of them are broken."""

    landing: str
    truth: str
    dates: tuple[str, ...]
    rows: dict[str, int]
    broken: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def run(settings: Settings | None, out: Path, spec: DeskSpec, dirt: bool = False) -> Result:
    """Write `out`/landing and `out`/truth.json, day by day; an earlier demo desk there is replaced.

    Nothing of `settings` matters here: a landing zone is the desk's, not the platform's.
    """
    landing, truth_file = out / "landing", out / "truth.json"
    if landing.exists() and not truth_file.exists():
        raise UsageError(
            f"{landing} exists and is not a demo desk's (no {truth_file.name} beside it)",
            "choose another folder",
        )
    truth = plan_market(spec)
    planned = plan_dirt(truth) if dirt else {}
    draft = out / ".landing.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    rows, broken = dict.fromkeys(contract.TABLES, 0), []
    for day, date in enumerate(each("simulate", spec.dates)):
        tables, spoiled = spoil(simulate_day(truth, day), truth, day, planned.get(day, []))
        for name, count in _write_day(draft, date, tables).items():
            rows[name] += count
        broken += [{**asdict(item), "date": date, "file": FILE_NAME} for item in spoiled]
    write_atomic(truth_file, canonical_json(truth_dict(truth, broken)).decode())
    move_folder(draft, landing)
    return Result(str(landing), str(truth_file), spec.dates, rows, len(broken))


def _write_day(landing: Path, date: str, tables: Tables) -> dict[str, int]:
    """One file per table; its number of rows."""
    rows = {}
    for name, columns in tables.items():
        folder = landing / name / f"date={date}"
        folder.mkdir(parents=True)
        table = arrow_table(contract.TABLES[name], columns)
        pq.write_table(table, folder / FILE_NAME, compression="zstd")
        rows[name] = table.num_rows
    return rows


def arrow_table(table: contract.Table, columns: dict[str, np.ndarray]) -> pa.Table:
    """Contract types; NaN is null only where null is allowed, so that a broken NaN stays one."""
    landed = [column for column in table.columns if column.name in columns]  # some may be absent
    arrays = [
        pa.array(columns[column.name], _ARROW_TYPE[column.type], from_pandas=column.nullable)
        for column in landed
    ]
    return pa.table(arrays, names=[column.name for column in landed])


def truth_dict(truth: Truth, broken: list[dict[str, Any]]) -> dict[str, Any]:
    """Plain data: planted numbers per regime, the regime of every bucket, the broken rows."""
    return {
        "spec": {**asdict(truth.spec), "dates": list(truth.spec.dates)},
        "fill_ratio": truth.spec.fill_ratio,
        "kernel": truth.spec.kernel.to_dict(),
        "symbols": list(truth.symbols),
        "sectors": list(truth.models["normal"].sectors),
        "adv": truth.adv.tolist(),
        "regimes": {regime: _regime_dict(truth, regime) for regime in REGIMES},
        "buckets": [
            {"ts": f"{ts}Z", "regime": REGIMES[label]}
            for day in range(truth.spec.days)
            for ts, label in zip(
                truth.bucket_ts(day).astype("M8[s]"), truth.regime[day], strict=True
            )
        ],
        "dirt": broken,
    }


def _regime_dict(truth: Truth, regime: str) -> dict[str, Any]:
    model = truth.models[regime]
    return {
        "alpha_bps": model.alpha.tolist(),
        "beta_bps": model.beta.tolist(),
        "gamma_bps": model.gamma.tolist(),
        "half_spread_bps": truth.half_spread[regime].tolist(),
        "edges": _edges(truth, to_scaled(model.gamma, model.adv), model.gamma),
    }


def _edges(truth: Truth, scaled: Array, gamma: Array) -> list[dict[str, Any]]:
    """Coupled pairs, strongest first in the space where gamma is symmetric."""
    i, j = np.nonzero(np.triu(scaled, 1))
    order = np.argsort(-np.abs(scaled[i, j]), kind="stable")
    return [
        {
            "symbol_i": truth.symbols[a],
            "symbol_j": truth.symbols[b],
            "scaled_bps": float(scaled[a, b]),
            "gamma_ij_bps": float(gamma[a, b]),
            "gamma_ji_bps": float(gamma[b, a]),
            "kind": "sector" if truth.sector[a] == truth.sector[b] else "idiosyncratic",
        }
        for a, b in zip(i[order].tolist(), j[order].tolist(), strict=True)
    ]
