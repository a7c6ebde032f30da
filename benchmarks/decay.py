"""Decay found beside the planted one, on trial desks whose impact outlives its bucket.

    .venv/bin/python benchmarks/decay.py                          # planted models, 20 seeds
    .venv/bin/python benchmarks/decay.py --seeds 100 --half-lives 30 --shares 0.3
    .venv/bin/python benchmarks/decay.py --refit --seeds 3        # the product's own refits
    .venv/bin/python benchmarks/decay.py --speed                  # 500 names x 60 days

Prints a markdown table, a row per planted kernel. With planted models beta and gamma are the true
ones, so that the table is of the kernel alone; `covers` are shares of seeds whose 95% interval
holds the planted value. With `--refit` models are fitted, the kernel on them, models again on
the panel less what is carried, and the kernel again; `beta` and `gamma` are slopes of the planted
on the fitted own and cross pushes, before and after: 1 where the models' size is right.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.decaying_desks import DecayingDesk, draw
from crossimpact.estimate.carried import net_of_carried
from crossimpact.estimate.day_bootstrap import Estimate
from crossimpact.estimate.decay import DecayFit, fit_decay
from crossimpact.estimate.decay_sums import Models, decay_sums, pushes
from crossimpact.estimate.refit import fit_regime
from crossimpact.model import Array, ImpactModel
from crossimpact.panel import REGIMES, Panel


@dataclass(frozen=True)
class Slopes:
    """Of the planted on the fitted cross and own pushes: 1 where the models' size is right."""

    gamma: float
    beta: float


@dataclass(frozen=True)
class Case:
    """A planted kernel and what was found of it on one desk."""

    half_life_min: float
    permanent: float
    found: DecayFit
    planted_self: float
    planted_cross: float
    before: Slopes | None = None
    after: Slopes | None = None


def planted_models(desk: DecayingDesk) -> Case:
    """The kernel on the true beta and gamma."""
    return _case(desk, fit_decay(decay_sums(desk.panel, desk.models)))


def refitted_models(desk: DecayingDesk) -> Case:
    """Models, kernel, models net of what is carried, kernel."""
    models = refit(desk.panel)
    fit = fit_decay(decay_sums(desk.panel, models))
    net = refit(net_of_carried(desk.panel, models, fit.decays))
    again = fit_decay(decay_sums(desk.panel, net))
    slopes = (_slopes(desk, fitted) for fitted in (models, net))
    return replace(_case(desk, again), **dict(zip(("before", "after"), slopes, strict=True)))


def refit(panel: Panel) -> dict[str, ImpactModel]:
    fits = {regime: fit_regime(panel, regime) for regime in REGIMES}
    return {regime: fit.model for regime, fit in fits.items() if fit.model is not None}


def _case(desk: DecayingDesk, found: DecayFit) -> Case:
    decay = desk.decay
    return Case(decay.half_life_min, decay.permanent, found, decay.scale_self, decay.scale_cross)


def _slopes(desk: DecayingDesk, fitted: Models) -> Slopes:
    """Of the planted pushes of all buckets on the fitted ones."""
    true, found = (_pushes(desk.panel, models) for models in (desk.models, fitted))
    return Slopes(_slope(found[1], true[1]), _slope(found[0], true[0]))


def _pushes(panel: Panel, models: Models) -> tuple[Array, Array]:
    """Own and cross, all regimes, (T, n)."""
    both = pushes(panel, models)
    return both[:, :, ::2].sum(axis=2), both[:, :, 1::2].sum(axis=2)


def _slope(x: Array, y: Array) -> float:
    return float((x * y).sum() / (x * x).sum()) if x.any() else float("nan")


# -- the table -----------------------------------------------------------------------------------


def row(cases: Sequence[Case]) -> str:
    """One planted kernel's line."""
    first = cases[0]
    decays = [case for case in cases if case.found.status == "decays"]
    half = np.array([case.found.half_life_min.value for case in decays])
    near = 0.73 * first.half_life_min, 1.34 * first.half_life_min  # 22 to 40 for 30
    within = float(((half >= near[0]) & (half <= near[1])).sum()) / len(cases)
    shares = np.array([case.found.permanent.value for case in decays]) - first.permanent
    cells = [
        f"{first.half_life_min:g}", f"{first.permanent:g}", f"{len(cases)}",
        " ".join(f"{status} {_count(cases, status)}" for status in _statuses(cases)),
        _spread(half, "{:.0f}"), f"{within:.0%}", _spread(shares + first.permanent, "{:.2f}"),
        f"{np.mean(np.abs(shares) <= 0.1):.0%}" if decays else "-",
        *_coverage(cases, decays), *_refits(cases),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _statuses(cases: Sequence[Case]) -> list[str]:
    return sorted({case.found.status for case in cases})


def _count(cases: Sequence[Case], status: str) -> int:
    return sum(case.found.status == status for case in cases)


def _spread(values: Array, shape: str) -> str:
    """10, 50 and 90%."""
    if not values.size:
        return "-"
    return " / ".join(shape.format(q) for q in np.quantile(values, (0.1, 0.5, 0.9)))


def _coverage(cases: Sequence[Case], decays: Sequence[Case]) -> list[str]:
    """Of half-life and share where a decay ships, of the scales in the normal regime anywhere."""
    half = [_holds(case.found.half_life_min, case.half_life_min) for case in decays]
    share = [_holds(case.found.permanent, case.permanent) for case in decays]
    known = [case for case in cases if case.found.scale_self]
    own = [_holds(case.found.scale_self[REGIMES[0]], case.planted_self) for case in known]
    cross = [_holds(case.found.scale_cross[REGIMES[0]], case.planted_cross) for case in known]
    ratio = [case.found.scale_cross[REGIMES[0]].value / case.planted_cross for case in known]
    own_ratio = [case.found.scale_self[REGIMES[0]].value / case.planted_self for case in known]
    return [
        *(f"{np.mean(held):.0%}" if held else "-" for held in (half, share, own, cross)),
        _spread(np.array(own_ratio), "{:.2f}"), _spread(np.array(ratio), "{:.2f}"),
    ]  # fmt: skip


def _holds(estimate: Estimate, planted: float) -> bool:
    return estimate.low <= planted <= estimate.high


def _refits(cases: Sequence[Case]) -> list[str]:
    """Median slopes before and after."""
    cells = []
    for name in ("beta", "gamma"):
        sides = [
            [getattr(slopes, name) for case in cases if (slopes := getattr(case, side))]
            for side in ("before", "after")
        ]
        if all(sides):
            cells.append(" -> ".join(f"{np.median(side):.2f}" for side in sides))
    return cells


HEAD = (
    "half-life", "permanent", "seeds", "status", "found half-life 10/50/90%", "within 0.73-1.34",
    "found permanent 10/50/90%", "within .1", "covers half-life", "covers permanent",
    "covers scale self", "covers scale cross", "scale self / planted", "scale cross / planted",
)  # fmt: skip


def speed(symbols: int, days: int) -> None:
    """CPU seconds of building the sums and of fitting on them."""
    desk = draw(0, symbols=symbols, days=days, permanent=0.3)
    start = time.process_time()
    sums = decay_sums(desk.panel, desk.models)
    built = time.process_time()
    fit = fit_decay(sums)
    done = time.process_time()
    print(
        f"{symbols} names x {days} days: sums {built - start:.1f} CPU s, "
        f"fit {done - built:.1f} CPU s: {fit.status}, {fit.half_life_min.value:.1f} min"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half-lives", default="15,30,60,120,inf")
    parser.add_argument("--shares", default="0,0.3,0.5")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--days", type=int, default=25)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--refit", action="store_true")
    parser.add_argument("--speed", action="store_true")
    chosen = parser.parse_args()
    with threadpool_limits(limits=1):
        if chosen.speed:
            speed(500, 60)
        else:
            _table(chosen)


def _table(chosen: argparse.Namespace) -> None:
    head = (*HEAD, "beta", "gamma") if chosen.refit else HEAD
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    run = refitted_models if chosen.refit else planted_models
    for half_life, share in _planted(chosen):
        desks = (
            draw(
                seed, half_life_min=half_life, permanent=share,
                symbols=chosen.symbols, days=chosen.days,
            )
            for seed in range(chosen.seeds)
        )  # fmt: skip
        print(row([run(desk) for desk in desks]), flush=True)


def _planted(chosen: argparse.Namespace) -> Mapping[tuple[float, float], None]:
    """Half-lives with each share; permanent impact once."""
    pairs = (
        (half_life, 1.0 if math.isinf(half_life) else share)
        for half_life in map(float, chosen.half_lives.split(","))
        for share in map(float, chosen.shares.split(","))
    )
    return dict.fromkeys(pairs)


if __name__ == "__main__":
    main()
