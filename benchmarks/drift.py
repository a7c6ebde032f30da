"""Weekly drift by simulation: false alarms over a year of looks, and weeks until a change is told.

Desks of `benchmarks.desks` with a champion that was really fitted, on the first 60 days, and so has
its estimation error. On `faint` desks couplings are a seventh, on `nearly none` a fiftieth of what
they are elsewhere; no refit would ship them, so the champion is drawn around the truth, and what a
week says of it is noise. For a year nothing changes, every week looked at twice; then the year is
replayed with gamma changed after `CALM` weeks. An alarm is a verdict of refit or demote in either
regime.

    .venv/bin/python benchmarks/drift.py                                  # 20 years of each kind
    .venv/bin/python benchmarks/drift.py --kinds clean --desks 1 --weeks 3    # does it run

Prints a line of JSON per desk and a markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from benchmarks import desks
from crossimpact.drift.weekly import Drift, weekly_drift
from crossimpact.estimate.refit import fit_regime
from crossimpact.model import Array, ImpactModel, from_scaled
from crossimpact.panel import REGIMES, Panel
from crossimpact.response import MOVES, Response

WEEK = 5  # days
LOOKS = (2, 5)  # days of the week that are there when it is looked at; the last one counts
WEEKS, CALM, PATIENCE = 52, 20, 26  # looked at, before the change, and for an alarm after it
WINDOW = 60  # days a champion is fitted on
#: Kind of desk -> kind of `desks.draw`, and how strong its couplings are beside those.
KINDS = {
    "clean": ("clean", 1.0), "heavy tails": ("heavy_tails", 1.0),
    "common noise": ("common_noise", 1.0), "confounded": ("confounded", 1.0),
    "unbalanced": ("unbalanced", 1.0), "faint": ("clean", 0.15), "nearly none": ("clean", 0.02),
}  # fmt: skip
CHANGES = {"halved": 0.5, "half more": 1.5, "gone": 0.0, "reversed": -1.0}
#: Verdict that ends a replay.
ENDS = {"halved": "refit", "half more": "refit", "gone": "demote", "reversed": "demote"}
NEVER = 999
#: Of a drawn champion: standard errors over the typical coupling.
ERROR = 0.2

Past = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Champion:
    """One regime's matrix, how its fit read slippage and moves as one, and the rung below."""

    model: ImpactModel
    response: Response
    lower: Mapping[str, ImpactModel]


@dataclass(frozen=True)
class Run:
    """One desk-year: while nothing changed the first week with an alarm, the first with a demotion,
    the weeks that were watched at any of their looks, and the most evidence over its limit; per
    change the weeks until a watch, an alarm and a demotion (`NEVER` for none); seconds in all."""

    kind: str
    seed: int
    weeks: int
    false_alarm: int
    false_demote: int
    watched: int
    peak: float
    watch: dict[str, int]
    alarm: dict[str, int]
    demote: dict[str, int]
    seconds: float


# -- champions ---------------------------------------------------------------------------------


def fitted(window: Panel) -> dict[str, Champion]:
    """What a refit ships of every regime that couples names."""
    champions = {}
    for regime in REGIMES:
        fit = fit_regime(window, regime)
        if fit.model is not None and fit.model.edges:
            lower = {k: m for k, m in fit.candidates.items() if k == "sector_block" != fit.rung}
            champions[regime] = Champion(fit.model, Response.of(fit.metrics), lower)
    return champions


def drawn(desk: desks.Desk, strength: float) -> dict[str, Champion]:
    """The truth, with errors as large as it says, on the pairs that are coupled."""
    rng = np.random.default_rng([desk.seed, len(desk.kind)])
    return {regime: _drawn(rng, desk, regime, strength) for regime in REGIMES}


def _drawn(rng: np.random.Generator, desk: desks.Desk, regime: str, strength: float) -> Champion:
    true, panel = strength * desk.scaled[regime], desk.head
    kept = true != 0
    se = ERROR * float(np.sqrt((true[kept] ** 2).mean()))
    error = np.triu(rng.normal(0, se, true.shape), 1)
    guess, told = np.where(kept, true + error + error.T, 0.0), np.where(kept, se, np.nan)
    model = ImpactModel(
        panel.symbols, panel.sectors, panel.adv, regime, desk.alpha[regime], desk.beta[regime],
        from_scaled(guess, panel.adv), gamma_se=from_scaled(told, panel.adv),
    )  # fmt: skip
    return Champion(model, MOVES, {})


# -- a year ------------------------------------------------------------------------------------


def simulate(kind: str, seed: int, symbols: int, weeks: int) -> Run:
    start = time.perf_counter()
    world, strength = KINDS[kind]
    desk = desks.draw(world, seed, symbols=symbols, days=WINDOW + WEEK * weeks)
    head, cross = altered(desk.head, desk.cross, strength), strength * desk.cross
    dates = np.unique(head.date)
    models = (
        drawn(desk, strength) if strength < 1
        else fitted(head.where(head.date <= dates[WINDOW - 1]))
    )  # fmt: skip
    year = [
        (head.where(rows), cross[rows])
        for at in range(WINDOW, len(dates), WEEK)
        for rows in [np.isin(head.date, dates[at : at + WEEK])]
    ]
    past: Past = {}
    before, found, peak = past, list[set[str]](), 0.0
    for at, (panel, _) in enumerate(year):
        if at == min(CALM, weeks - 1):
            before = copied(past)
        verdicts, most = looked_at(models, panel, past)
        found.append(verdicts)
        peak = max(peak, most)
    replays = {
        name: until(models, (altered(*w, factor) for w in year[CALM : CALM + PATIENCE]), before,
                    ENDS[name])
        for name, factor in CHANGES.items()
    }  # fmt: skip
    return Run(
        kind, seed, weeks,
        first_with(found, ("refit", "demote")), first_with(found, ("demote",)),
        sum("watch" in verdicts for verdicts in found), peak,
        {name: first_with(r, ("watch", "refit", "demote")) for name, r in replays.items()},
        {name: first_with(r, ("refit", "demote")) for name, r in replays.items()},
        {name: first_with(r, ("demote",)) for name, r in replays.items()},
        time.perf_counter() - start,
    )  # fmt: skip


def looked_at(models: Mapping[str, Champion], panel: Panel, past: Past) -> tuple[set[str], float]:
    """A week looked at day by day: the verdicts of all looks, and the most evidence over its limit;
    the last look's p-values join `past`."""
    dates, verdicts, peak = np.unique(panel.date), set[str](), 0.0
    found: list[Drift] = []
    for days in LOOKS:
        found = look(models, panel.where(panel.date <= dates[days - 1]), past)
        verdicts |= {drift.verdict for drift in found}
        peak = max([peak, *(row.evidence / row.limit for d in found for row in d.evidence)])
    remember(found, past)
    return verdicts, peak


def look(models: Mapping[str, Champion], panel: Panel, past: Past) -> list[Drift]:
    """One look at every regime that has a matrix."""
    return [
        weekly_drift(
            champion.model, panel, response=champion.response, lower=champion.lower,
            past=past.get(regime, {}), regimes=len(REGIMES),
        )
        for regime, champion in models.items()
    ]  # fmt: skip


def remember(found: Iterable[Drift], past: Past) -> None:
    for drift in found:
        for row in drift.evidence:
            past.setdefault(drift.regime, {}).setdefault(row.statistic, []).append(row.p)


def copied(past: Past) -> Past:
    return {r: {s: list(p) for s, p in said.items()} for r, said in past.items()}


def until(
    models: Mapping[str, Champion], weeks: Iterable[Panel], before: Past, verdict: str
) -> list[set[str]]:
    """Verdicts week by week, looked at once a week, up to the one that is looked for."""
    past, verdicts = copied(before), list[set[str]]()
    for panel in weeks:
        found = look(models, panel, past)
        remember(found, past)
        verdicts.append({str(drift.verdict) for drift in found})
        if verdicts[-1] & {verdict, "demote"}:
            break
    return verdicts


def first_with(found: Sequence[set[str]], verdicts: Sequence[str]) -> int:
    """Number of the first week with one of the verdicts, from 1."""
    return next((k + 1 for k, seen in enumerate(found) if seen & set(verdicts)), NEVER)


def altered(panel: Panel, cross: Array, factor: float) -> Panel:
    """The panel, had every coupling been `factor` times as strong."""
    extra = (factor - 1) * cross
    return replace(panel, move=panel.move + extra, s=panel.s + np.sign(panel.q) * extra)


# -- table -------------------------------------------------------------------------------------


def weeks_until(values: Sequence[int]) -> str:
    """Median and 90th percentile; a dash is more than `PATIENCE`."""
    told = (np.quantile(values, share, method="higher") for share in (0.5, 0.9))
    return " / ".join("-" if value >= NEVER else f"{value:.0f}" for value in told)


def table(runs: Sequence[Run]) -> str:
    head = ["desks", "years", "with a false alarm", "weeks watched", "most evidence over the limit"]
    head += [f"{name}: watch, alarm" for name in CHANGES]
    head += ["reversed: demote", "in the first week"]
    lines = [head, ["---"] * len(head)]
    for kind in (*dict.fromkeys(run.kind for run in runs), "all"):
        part = [run for run in runs if kind in (run.kind, "all")]
        alarms, watched = sum(r.false_alarm < NEVER for r in part), sum(r.watched for r in part)
        bound = binomtest(alarms, len(part)).proportion_ci(0.9, method="exact").high
        lines.append([
            kind, str(len(part)), f"{alarms} (95% bound {bound:.1%})",
            f"{watched / sum(run.weeks for run in part):.2%}",
            f"{max(run.peak for run in part):.1%}",
            *(
                f"{weeks_until([run.watch[name] for run in part])}, "
                f"{weeks_until([run.alarm[name] for run in part])}"
                for name in CHANGES
            ),
            weeks_until([run.demote["reversed"] for run in part]),
            f"{np.mean([run.demote['reversed'] == 1 for run in part]):.0%}",
        ])  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--desks", type=int, default=20, help="of each kind")
    parser.add_argument("--first", type=int, default=0, help="seed of the first desk of each kind")
    parser.add_argument("--symbols", type=int, default=8, help="names of a desk")
    parser.add_argument("--weeks", type=int, default=WEEKS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", type=Path, help="lines of earlier runs: print their table only")
    asked = parser.parse_args()
    if asked.table:
        lines = asked.table.read_text().splitlines()
        print(table([Run(**json.loads(line)) for line in lines if line.startswith("{")]))
        return
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    seeds = range(asked.first, asked.first + asked.desks)
    tasks = [(kind, seed) for seed in seeds for kind in asked.kinds.split(",")]
    with ProcessPoolExecutor(asked.jobs) as pool:
        runs = []
        for run in pool.map(
            simulate, *zip(*tasks, strict=True), repeat(asked.symbols), repeat(asked.weeks),
        ):  # fmt: skip
            runs.append(run)
            print(json.dumps(asdict(run), sort_keys=True), flush=True)
    print(table(runs))


if __name__ == "__main__":
    main()
