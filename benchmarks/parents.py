"""How much of the parents' price drift the release explains, in the days of its fit and after them.

    .venv/bin/python -m benchmarks.parents --folder OUT                  # simulates the demo desk
    .venv/bin/python -m benchmarks.parents --folder OUT --landing SRC    # any desk with parents

Two releases of one landing zone: one of all its dates, and one of the first half that prices the
second half as well. Daily TCA runs with each. Drift is the move from each order's arrival to its
fills, in bps of the notional ordered; predicted are self, cross and peers' flow, now and carried
over. R2 is over filled parents, the slope through the origin, its interval with dates as clusters;
`now alone` is the same had the fills' own buckets been all that is priced.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from crossimpact.model import Array
from crossimpact.release.bundle import Release
from crossimpact.simulate import DEMO_HALF_LIFE_MIN, DEMO_PERMANENT, DeskSpec
from crossimpact.slope import Slope, between_days
from pipelines import features, plan, refit, simulate, tca, validate
from pipelines.pricing import Pricing
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from registry import tracking

PREDICTED = (
    "self_now_usd",
    "self_own_carried_usd",
    "cross_now_usd",
    "cross_carried_usd",
    "peers_usd",
)
NOW = ("self_now_usd", "cross_now_usd")


@dataclass(frozen=True)
class Parents:
    """Filled parents: date, drift, predictions in bps of the notional ordered, USD sums."""

    date: Array
    drift: Array
    predicted: Array
    now: Array
    shortfall_usd: float
    residual_usd: float
    notional_usd: float


def priced(settings: Settings, landing: Path, release: Release, dates: Sequence[str]) -> Parents:
    """TCA of the dates by a release, and what its marts say of the parents."""
    rows = []
    for date in dates:
        tca.run(settings, landing, date, Pricing.by(release, date))
        found = Warehouse(settings).rows("marts", "tca_orders", date) or []
        rows += [{**row, "date": date} for row in found]
    every = {name: np.array([float(row[name]) for row in rows]) for name in _columns(rows)}
    filled = every["filled_qty"] > 0
    bps = 1e4 / every["notional_usd"][filled]

    def of(*names: str) -> Array:
        return np.asarray(sum(every[name][filled] for name in names) * bps)

    return Parents(
        np.array([row["date"] for row in rows])[filled],
        of("self_usd", "cross_realized_usd"), of(*PREDICTED), of(*NOW),
        *(float(every[f"{name}_usd"].sum()) for name in ("total", "residual", "notional")),
    )  # fmt: skip


def _columns(rows: Sequence[dict[str, object]]) -> list[str]:
    return [name for name in rows[0] if name.endswith("_usd") or name == "filled_qty"]


def r2(drift: Array, predicted: Array) -> float:
    left = drift - predicted
    return 1 - float((left**2).sum() / ((drift - drift.mean()) ** 2).sum())


def slope(found: Parents, predicted: Array) -> Slope:
    fitted = between_days(predicted**2, predicted * found.drift, found.date)
    assert fitted is not None
    return fitted


def row(name: str, found: Parents) -> str:
    bps = 1e4 / found.notional_usd
    line = slope(found, found.predicted)
    low, high = line.interval()
    unexplained = found.residual_usd * bps
    return (
        f"| {name} | {len(found.drift)} | {found.shortfall_usd * bps:.1f} | {unexplained:.1f} | "
        f"{abs(unexplained) / (found.shortfall_usd * bps):.1%} | "
        f"{r2(found.drift, found.now):.2f} | {r2(found.drift, found.predicted):.2f} | "
        f"{line.value:.3f} ({low:.3f} to {high:.3f}) |"
    )


HEAD = (
    "priced", "parents", "shortfall, bps", "unexplained, bps", "of shortfall",
    "R2, now alone", "R2", "slope of drift on predicted",
)  # fmt: skip


def fitted(home: Path, landing: Path, as_of: str) -> tuple[Settings, Release]:
    """A refit of all dates up to one; nothing is promoted."""
    settings = plan.settings_for(Settings(home), Landing(landing), None)
    made = refit.run(settings, landing, as_of, now=datetime.fromisoformat(f"{as_of}T23:00+00:00"))
    release, _ = tracking.resolve(settings.mlflow_uri, made.digest)
    return settings, release


def report(folder: Path, landing: Path) -> None:
    dates = Landing(landing).all_dates()
    half = len(dates) // 2
    print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|")
    for name, last in (("all", len(dates)), ("half", half)):
        settings, release = fitted(folder / f"home-{name}", landing, dates[last - 1])
        _validated(settings, landing, dates)
        spans = [(f"days 1-{last}, in the fit", dates[:last])]
        if last < len(dates):
            after = f"days {last + 1}-{len(dates)}, fitted on 1-{last}"
            spans.append((after, dates[last:]))
        for title, span in spans:
            print(row(title, priced(settings, landing, release, span)), flush=True)


def _validated(settings: Settings, landing: Path, dates: Sequence[str]) -> None:

    validate.run(settings, Landing(landing), dates)
    features.prepare(settings, Landing(landing), dates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--landing", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args()
    landing = chosen.landing
    if landing is None:
        spec = DeskSpec(
            seed=chosen.seed, half_life_min=DEMO_HALF_LIFE_MIN, permanent=DEMO_PERMANENT
        )
        desk = chosen.folder / "desk"
        if not (desk / "truth.json").exists():
            simulate.run(None, desk, spec, dirt=True)
        landing = desk / "landing"
    report(chosen.folder, landing)


if __name__ == "__main__":
    main()
