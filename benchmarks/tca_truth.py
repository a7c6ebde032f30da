"""Causes that daily TCA finds on the demo desk, beside those that were planted.

    .venv/bin/python -m benchmarks.tca_truth --folder /tmp/truth
    .venv/bin/python -m benchmarks.tca_truth --folder /tmp/truth --refit --half

The planted market itself is a release: its impact, its decay and what its peers' flow moves. With
`--refit` the same marts are also made with a release refitted on the dates, or on their first half
to price the second. `bps` are of the notional ordered; R2 and slope are of the filled orders' drift
from arrival to fills on everything but the residual, dates as clusters.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np

from benchmarks.parents import fitted, r2
from crossimpact.model import Array, ImpactModel
from crossimpact.release.bundle import Release
from crossimpact.release.content import Policy, Window
from crossimpact.simulate import DEMO_HALF_LIFE_MIN, DEMO_PERMANENT, DeskSpec, plan_market
from crossimpact.simulate.market import PEER_FACTOR_BPS, PEER_SECTOR_BPS, Truth
from crossimpact.slope import between_days
from pipelines import features, simulate, tca_marts, validate
from pipelines.pages.reports import Row, read_mart
from pipelines.pricing import Pricing
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

POV = {"full": 0.15, "sector_block": 0.12, "one_factor": 0.11, "self_only": 0.1, "fixed_pov": 0.05}
CAUSES = (
    "self_now", "self_own_carried", "self_sibling_carried", "cross_now", "cross_carried", "peers",
    "market", "residual",
)  # fmt: skip


def planted(truth: Truth) -> Release:
    """A release of the planted market."""
    full, none = Policy("full", "", POV), Policy("fixed_pov", "no label", POV)
    models = {regime: _with_peers(truth, model) for regime, model in truth.models.items()}
    return Release(
        as_of="2000-01-02", window=Window("2000-01-01", "2000-01-02", 2), flow="own",
        bucket_s=truth.spec.bucket_s, contract_version="2", code_version="0",
        data_digest="0" * 64, models=models,
        fallback={"unknown": none, **dict.fromkeys(models, full)}, report={},
    )  # fmt: skip


def _with_peers(truth: Truth, model: ImpactModel) -> ImpactModel:
    """Its peers' coefficients as a fit has them: as fills pay them, per flow over ADV."""
    adv = truth.adv
    sector = PEER_SECTOR_BPS * adv / truth.sector_adv
    factor = PEER_FACTOR_BPS * adv / adv.sum()
    kept = truth.spec.fill_ratio * np.stack((sector, factor), axis=1)
    return replace(model, provenance={**model.provenance, "peer_bps": kept.tolist()})


def priced(settings: Settings, release: Release, dates: Sequence[str]) -> list[Row]:
    """Orders of the dates, priced by one release."""
    warehouse, found = Warehouse(settings), []
    for date in dates:
        tca_marts.build(warehouse, date, Pricing.by(release, date), {"by": release.digest})
        rows = read_mart(warehouse, "tca_orders", date)
        found += [{**row, "date": date} for row in rows]
    return found


def line(name: str, rows: Sequence[Row]) -> str:
    notional = sum((row["notional_usd"] for row in rows), Decimal())
    causes = [
        float(10_000 * sum((row[f"{cause}_usd"] for row in rows), Decimal()) / notional)
        for cause in CAUSES
    ]
    filled = [row for row in rows if row["filled_qty"] > 0 and row["notional_usd"] > 0]
    drift, left = (_bps(filled, *names) for names in (("self", "cross_realized"), ("residual",)))
    told = drift - left
    slope = between_days(told**2, told * drift, np.array([row["date"] for row in filled]))
    assert slope is not None
    low, high = slope.interval()
    cells = [f"{value:.2f}" for value in causes]
    cells += [f"{r2(drift, told):.3f}", f"{slope.value:.3f} ({low:.3f} to {high:.3f})"]
    return f"| {name} | {len(filled)} | " + " | ".join(cells) + " |"


def _bps(rows: Sequence[Row], *names: str) -> Array:
    return np.array(
        [float(10_000 * sum(row[f"{n}_usd"] for n in names) / row["notional_usd"]) for row in rows]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--refit", action="store_true")
    parser.add_argument("--half", action="store_true")
    chosen = parser.parse_args()
    spec = DeskSpec(
        seed=chosen.seed, half_life_min=DEMO_HALF_LIFE_MIN, permanent=DEMO_PERMANENT
    )  # fmt: skip
    desk = chosen.folder / "desk"
    if not (desk / "truth.json").exists():
        simulate.run(None, desk, spec, dirt=True)
    landing, settings = Landing(desk / "landing"), Settings(chosen.folder / "home")
    dates = landing.all_dates()[: chosen.days]
    validate.accept(settings, landing, dates)
    features.prepare(settings, landing, dates)
    seen = dates[: len(dates) // 2] if chosen.half else dates
    asked = dates[len(seen) :] if chosen.half else dates
    print("| priced by | orders | " + " | ".join(CAUSES) + " | R2 | slope (95%) |")
    print("|---" * (len(CAUSES) + 4) + "|")
    print(line("planted market", priced(settings, planted(plan_market(spec)), asked)), flush=True)
    if chosen.refit:
        settings, release = fitted(chosen.folder / "home", desk / "landing", seen[-1])
        print(line("refit", priced(settings, release, asked)), flush=True)


if __name__ == "__main__":
    main()
