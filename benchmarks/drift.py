"""Weekly drift by simulation: false alarms over a year of weekly looks, and weeks until an alarm.

Desks of `benchmarks.desks` with a champion that was really fitted, on the first 60 days, and so has
its estimation error. For a year after that nothing changes; then the same year is replayed with
gamma changed after `CALM` weeks. An alarm is a verdict of refit or demote in either regime.

    .venv/bin/python benchmarks/drift.py                                  # 40 desks of each kind
    .venv/bin/python benchmarks/drift.py --kinds clean --desks 1 --weeks 3    # does it run

Prints a line of JSON per desk and a markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import repeat

import numpy as np
from scipy.stats import binomtest

from benchmarks import desks
from crossimpact.estimate.design import REGIMES, Panel
from crossimpact.estimate.drift import Drift, Promise, weekly_drift
from crossimpact.estimate.refit import RegimeFit, fit_regime
from crossimpact.model import Array

SYMBOLS, WEEK = 16, 5  # names, days of a week
WEEKS, CALM, PATIENCE = 52, 20, 26  # looked at, before the change, and for an alarm after it
KINDS = ("clean", "heavy_tails", "common_noise", "confounded", "unbalanced")
CHANGES = {"halved": 0.5, "half more": 1.5, "reversed": -1.0}
NEVER = 999


@dataclass(frozen=True)
class Run:
    """One desk: rungs that shipped; while nothing changed the first week with an alarm and with a
    watch, and the most evidence over its limit; weeks from each change to an alarm and to a
    demotion (`NEVER` for none), the rung named then, seconds of a week's drift."""

    kind: str
    seed: int
    rungs: dict[str, str]
    false_alarm: int
    false_watch: int
    peak: float
    alarm: dict[str, int]
    demote: dict[str, int]
    fallback: str
    seconds: float


def simulate(kind: str, seed: int, weeks: int, window: int) -> Run:
    desk = desks.draw(kind, seed, symbols=SYMBOLS, days=window + WEEK * weeks)
    dates = np.unique(desk.head.date)
    first = desk.head.where(desk.head.date <= dates[window - 1])
    fits = {regime: fit_regime(first, regime) for regime in REGIMES}
    later = [
        np.isin(desk.head.date, dates[at : at + WEEK]) for at in range(window, len(dates), WEEK)
    ]
    year = [(desk.head.where(rows), desk.cross[rows]) for rows in later]
    start = time.perf_counter()
    past: dict[str, dict[str, list[float]]] = {}
    before, verdicts, peak = past, list[set[str]](), 0.0
    for at, (panel, _) in enumerate(year):
        if at == min(CALM, weeks - 1):
            before = {r: {s: list(p) for s, p in said.items()} for r, said in past.items()}
        found = look(fits, panel, past)
        verdicts.append({drift.verdict for drift in found})
        peak = max([peak, *(row.evidence / row.limit for d in found for row in d.evidence)])
    seconds = (time.perf_counter() - start) / len(year)
    alarms, demotions, fallback = {}, {}, ""
    for name, factor in CHANGES.items():
        changed = ((altered(*week, factor)) for week in year[CALM : CALM + PATIENCE])
        replay = [*until(fits, changed, before, "demote" if factor < 0 else "refit")]
        alarms[name] = first_with(replay, ("refit", "demote"))
        demotions[name] = first_with(replay, ("demote",))
        fallback = fallback or next((f for _, f in replay if f), "")
    return Run(
        kind, seed, {r: fit.rung for r, fit in fits.items()},
        first_with([(v, "") for v in verdicts], ("refit", "demote")),
        first_with([(v, "") for v in verdicts], ("watch", "refit", "demote")),
        peak, alarms, demotions, fallback, seconds,
    )  # fmt: skip


def look(
    fits: Mapping[str, RegimeFit], panel: Panel, past: dict[str, dict[str, list[float]]]
) -> list[Drift]:
    """One week of every regime with a matrix; its p-values join `past`."""
    found = []
    for regime, fit in fits.items():
        if fit.model is None:
            continue
        said = past.setdefault(regime, {})
        lower = {k: m for k, m in fit.candidates.items() if k == "sector_block" != fit.rung}
        drift = weekly_drift(
            fit.model, panel, promise=Promise.of(fit.metrics), lower=lower, past=said,
            regimes=len(fits),
        )  # fmt: skip
        for row in drift.evidence:
            said.setdefault(row.statistic, []).append(row.p)
        found.append(drift)
    return found


def until(
    fits: Mapping[str, RegimeFit], weeks: Iterable[Panel],
    before: Mapping[str, Mapping[str, list[float]]], verdict: str,
) -> Iterator[tuple[set[str], str]]:  # fmt: skip
    """Verdicts and fallbacks week by week, up to the first alarm that is looked for."""
    past = {r: {s: list(p) for s, p in said.items()} for r, said in before.items()}
    for panel in weeks:
        found = look(fits, panel, past)
        verdicts = {str(drift.verdict) for drift in found}
        yield verdicts, next((drift.fallback for drift in found if drift.fallback), "")
        if verdict in verdicts or "demote" in verdicts:
            return


def first_with(found: Sequence[tuple[set[str], str]], verdicts: Sequence[str]) -> int:
    """Number of the first week with one of the verdicts, from 1."""
    return next((k + 1 for k, (v, _) in enumerate(found) if v & set(verdicts)), NEVER)


def altered(panel: Panel, cross: Array, factor: float) -> Panel:
    """The week, had every coupling been `factor` times as strong."""
    extra = (factor - 1) * cross
    return replace(panel, move=panel.move + extra, s=panel.s + np.sign(panel.q) * extra)


def weeks_until(values: Sequence[int]) -> str:
    """Median, 90th percentile, and share of never."""
    told = (np.quantile(values, share, method="higher") for share in (0.5, 0.9))
    text = " / ".join("-" if value >= NEVER else f"{value:.0f}" for value in told)
    never = np.mean(np.array(values) >= NEVER)
    return text + (f" ({never:.0%} not in {PATIENCE})" if never else "")


def table(runs: Sequence[Run]) -> str:
    head = ["desks", "n", "years with a false alarm", "with a false watch"]
    head += [f"gamma {name}" for name in CHANGES] + ["reversed: demote", "s a week"]
    lines = [head, ["---"] * len(head)]
    for kind in (*dict.fromkeys(run.kind for run in runs), "all"):
        part = [run for run in runs if kind in (run.kind, "all")]
        alarms = sum(run.false_alarm < NEVER for run in part)
        bound = binomtest(alarms, len(part)).proportion_ci(0.9, method="exact").high
        lines.append([
            kind, str(len(part)), f"{alarms} (95% bound {bound:.1%})",
            str(sum(run.false_watch < NEVER for run in part)),
            *(weeks_until([run.alarm[name] for run in part]) for name in CHANGES),
            weeks_until([run.demote["reversed"] for run in part]),
            f"{np.median([run.seconds for run in part]):.2f}",
        ])  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--desks", type=int, default=40, help="of each kind")
    parser.add_argument("--weeks", type=int, default=WEEKS)
    parser.add_argument("--window", type=int, default=60, help="days the champion is fitted on")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    kinds = asked.kinds.split(",")
    tasks = [(kind, seed) for seed in range(asked.desks) for kind in kinds]
    with ProcessPoolExecutor(asked.jobs) as pool:
        runs = []
        for run in pool.map(
            simulate, *zip(*tasks, strict=True), repeat(asked.weeks), repeat(asked.window)
        ):
            runs.append(run)
            print(json.dumps(asdict(run), sort_keys=True), flush=True)
    print(table(runs))


if __name__ == "__main__":
    main()
