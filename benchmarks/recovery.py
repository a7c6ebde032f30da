"""Recovery of planted couplings on trial desks: ours beside what else a desk could do.

    .venv/bin/python benchmarks/recovery.py                                    # everything
    .venv/bin/python benchmarks/recovery.py --kinds clean,drift --columns ours,"known support"
    .venv/bin/python benchmarks/recovery.py --landing --kinds clean --seeds 0  # the command line
    .venv/bin/python benchmarks/recovery.py --columns ours --fill-ratios 0.5,0.6,0.8,0.95
    .venv/bin/python benchmarks/recovery.py --columns ours --kinds self_only --symbols 24  # honesty

Prints a markdown table, a row per desk and regime, and with `--json` a line of JSON after it. A
cell is, in means over the seeds, F1 of the edges above 0.3 bps at typical flow / relative Frobenius
error in scaled dollar space / correlation of predicted with true cross cost on a fresh
continuation.
`slope` is of true on predicted cross cost there, `gain` the share of the true cross moves explained
there in the worst seed: below zero, self-only would have been better out of sample. `covered` is
the share of shipped pairs within 1.96 standard errors of what is true at the window's end, `all
pairs` that of all where one that does not ship claims exactly zero, `beta` that of own impact. With
`--fill-ratios` every desk is drawn once per ratio of what fills pay of the cross impact that the
mid keeps (own impact's is .05 more, at most .97).

With `--landing` a desk is written as a landing zone, refitted and exported by the command line, and
the exported numbers are scored; `labels` is the share of buckets with their planted regime, of the
row's regime and of all.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import peers
from benchmarks.couplings import KINDS
from benchmarks.desks import FILL_RATIO, Desk, draw
from benchmarks.landing import write_landing
from benchmarks.scores import Score, score
from crossimpact.estimate.refit import RegimeFit, fit_regime
from crossimpact.model import Array, to_scaled
from crossimpact.panel import REGIMES

COMMAND = Path(sys.executable).with_name("crossimpact")
KNOWN, OURS = "known support", "ours"
COLUMNS = (*peers.PEERS, KNOWN, OURS)


@dataclass(frozen=True)
class Row:
    """One regime of one drawn desk: a score per column, and what only we report.

    Attributes
    ----------
    share
        Of the variance of slippage, explained by the true cross terms.
    rung
        Of the ladder that answered; empty when ours was not asked.
    seconds
        Of the fit, by column.
    labels
        Shares of right labels: of the regime's buckets, of all. Empty but with `--landing`.
    paid
        What fills pay of the cross impact that the mid keeps.
    covered
        Shares within 1.96 standard errors: of shipped pairs, of all pairs, of betas. Empty unless
        ours was asked.
    """

    kind: str
    seed: int
    regime: str
    share: float
    scores: Mapping[str, Score]
    rung: str
    seconds: Mapping[str, float]
    labels: Sequence[float] = ()
    paid: float = FILL_RATIO
    covered: Sequence[float] = ()


# -- estimates on the panel --------------------------------------------------------------------


def rows_of(kind: str, seed: int, paid: float, columns: Sequence[str], symbols: int) -> list[Row]:
    """Both regimes of a desk, on one thread."""
    with threadpool_limits(limits=1):
        own = min(paid + 0.05, 0.97)
        desk = draw(kind, seed, symbols=symbols, fill_ratio=paid, self_fill_ratio=own)
        return [_row(desk, regime, paid, columns) for regime in REGIMES]


def _row(desk: Desk, regime: str, paid: float, columns: Sequence[str]) -> Row:
    scores, seconds, rung = {}, {}, ""
    covered: tuple[float, ...] = ()
    for column in columns:
        start = time.perf_counter()
        if column == OURS:
            fit = fit_regime(desk.head, regime)
            estimate, rung = shipped(desk, fit), fit.rung
            covered = coverage(desk, fit)
        elif column == KNOWN:
            estimate = peers.known_support(desk.head.of_regime(regime), desk.scaled[regime])
        else:
            estimate = peers.PEERS[column](desk.head.of_regime(regime))
        seconds[column] = time.perf_counter() - start
        scores[column] = score(estimate, desk, regime)
    share = desk.share(regime)
    return Row(
        desk.kind, desk.seed, regime, share, scores, rung, seconds, paid=paid, covered=covered
    )


def shipped(desk: Desk, fit: RegimeFit) -> Array:
    """Couplings of what ships; none when no model does."""
    if fit.model is None:
        return peers.self_only(desk.head)
    return to_scaled(fit.model.gamma, fit.model.adv)


def coverage(desk: Desk, fit: RegimeFit) -> tuple[float, ...]:
    """Shares of shipped pairs, of all pairs and of betas within 1.96 standard errors of the truth;
    NaN where there are none."""
    if fit.model is None:
        return (math.nan,) * 3
    model, upper = fit.model, np.triu_indices(desk.head.n, 1)
    off = np.abs(to_scaled(model.gamma, model.adv) - desk.scaled[fit.regime])[upper]
    se = to_scaled(np.nan_to_num(model.gamma_se), model.adv)[upper]
    ships = to_scaled(model.gamma, model.adv)[upper] != 0
    inside = off <= 1.96 * np.where(ships, se, 0.0) + 1e-9
    beta = np.abs(model.beta - desk.beta[fit.regime]) <= 1.96 * model.beta_se
    pairs = float(inside[ships].mean()) if ships.any() else math.nan
    return pairs, float(inside.mean()), float(beta.mean())


# -- the command line on a landing zone --------------------------------------------------------


def landed_rows(kind: str, seed: int, folder: Path) -> list[Row]:
    """Both regimes of a desk, as refitted and exported by the command line in a fresh home."""
    desk = draw(kind, seed)
    landing, home = write_landing(desk, folder), ("--home", folder / "home")
    start = time.perf_counter()
    refit = json.loads(command("refit", landing, *home, "--json"))
    seconds = {OURS: time.perf_counter() - start}
    gamma, regimes = folder / "gamma.csv", folder / "regimes.csv"
    command("export", "gamma", gamma, "--release", refit["release"], *home)
    command("export", "regimes", regimes, *home)
    rows = []
    for regime in REGIMES:
        estimate = read_gamma(gamma, desk, regime)
        rung = refit["regimes"][regime]["rung"]
        scores = {OURS: score(estimate, desk, regime)}
        labels = label_shares(regimes, desk, regime)
        share = desk.share(regime)
        rows.append(Row(kind, seed, regime, share, scores, rung, seconds, labels))
    return rows


def command(*arguments: object) -> str:
    """Standard output of the command line; ends this program when it fails."""
    run = subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"{arguments[0]} failed with {run.returncode}:\n{run.stderr[-2000:]}")
    return run.stdout


def read_gamma(path: Path, desk: Desk, regime: str) -> Array:
    """The exported couplings of a regime in scaled space, on the desk's symbols and ADV."""
    at = {symbol: i for i, symbol in enumerate(desk.head.symbols)}
    gamma = np.zeros((desk.head.n, desk.head.n))
    with path.open(newline="") as stream:
        for line in csv.DictReader(stream):
            if line["regime"] == regime:
                gamma[at[line["symbol_i"]], at[line["symbol_j"]]] = float(line["gamma_bps"])
    return to_scaled(gamma, desk.head.adv)


def label_shares(path: Path, desk: Desk, regime: str) -> tuple[float, float]:
    """Share of right labels in the planted regime's buckets, and in all; a missing one is wrong."""
    with path.open(newline="") as stream:
        labels = {line["ts"]: line["regime"] for line in csv.DictReader(stream)}
    stamps = (f"{ts}Z" for ts in desk.head.ts.astype("M8[s]"))
    right = np.array([labels.get(ts) for ts in stamps]) == desk.head.regime
    return float(right[desk.head.regime == regime].mean()), float(right.mean())


# -- the table ---------------------------------------------------------------------------------


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Markdown, a line per desk and regime, means over the seeds."""
    ours_too, landed = OURS in columns, any(row.labels for row in rows)
    extra = ["slope", "rung", "gain", "covered", "all pairs", "beta"] * ours_too
    extra += ["labels"] * landed
    lines = [["desk, regime", "fills pay", "share", *columns, *extra]]
    lines.append(["---"] * len(lines[0]))
    for (kind, regime, paid), group in groupby(_ordered(rows), key=_desk):
        same = list(group)
        line = [f"{kind}, {regime}", f"{paid:g}", f"{_mean([row.share for row in same]):.1%}"]
        line += [cell([row.scores[column] for row in same]) for column in columns]
        line += _own_cells(same) if ours_too else []
        lines.append(line + (_label_cells(same) if landed else []))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ordered(rows: Sequence[Row]) -> list[Row]:
    kinds = list(KINDS)
    return sorted(rows, key=lambda row: (kinds.index(row.kind), row.regime, row.paid, row.seed))


def _desk(row: Row) -> tuple[str, str, float]:
    return row.kind, row.regime, row.paid


def cell(scores: Sequence[Score]) -> str:
    numbers = ([getattr(s, name) for s in scores] for name in ("f1", "error", "correlation"))
    return " / ".join(_text(_mean(values)) for values in numbers)


def _own_cells(rows: Sequence[Row]) -> list[str]:
    scores = [row.scores[OURS] for row in rows]
    rungs = " ".join(
        f"{rung} {len(list(same))}" for rung, same in groupby(sorted(r.rung for r in rows))
    )
    covered = (row.covered or (math.nan,) * 3 for row in rows)
    means = [_text(_mean(shares)) for shares in zip(*covered, strict=True)]
    slope, gain = _mean([s.slope for s in scores]), min(s.gain for s in scores)
    return [_text(slope), rungs, _text(gain), *means]


def _label_cells(rows: Sequence[Row]) -> list[str]:
    of_regime, of_all = (_mean(shares) for shares in zip(*(r.labels for r in rows), strict=True))
    return [f"{of_regime:.1%}, {of_all:.1%}"]


def _mean(values: Sequence[float]) -> float:
    """Mean of what is a number."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.fmean(known) if known else math.nan


def _text(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _plain(value: Any) -> Any:
    """Plain data with null for what is no number."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


# -- the program -------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", default=",".join(KINDS), help="comma-separated")
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--columns", default=",".join(COLUMNS), help="comma-separated")
    parser.add_argument("--fill-ratios", default=str(FILL_RATIO), help="comma-separated")
    parser.add_argument("--symbols", type=int, default=40)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--landing", action="store_true", help="through the command line")
    parser.add_argument("--folder", type=Path, help="where to put the temporary landing zones")
    parser.add_argument("--json", action="store_true", help="a line of JSON after the table")
    asked = parser.parse_args()
    asked.kinds, asked.columns = asked.kinds.split(","), asked.columns.split(",")
    asked.seeds = [int(seed) for seed in asked.seeds.split(",")]
    asked.fill_ratios = [float(ratio) for ratio in asked.fill_ratios.split(",")]
    for name, known in (("kinds", list(KINDS)), ("columns", list(COLUMNS))):
        if unknown := set(getattr(asked, name)) - set(known):
            parser.error(f"--{name} {', '.join(sorted(unknown))}: not one of {', '.join(known)}")
    return asked


def landed(asked: argparse.Namespace) -> list[Row]:
    """One landing zone at a time: the command line uses the machine itself."""
    rows = []
    for kind, seed in product(asked.kinds, asked.seeds):
        with tempfile.TemporaryDirectory(prefix="recovery-", dir=asked.folder) as folder:
            rows += landed_rows(kind, seed, Path(folder))
        print(f"{kind}, seed {seed} done", file=sys.stderr)
    return rows


def drawn(asked: argparse.Namespace) -> list[Row]:
    """Desks shared out to the processes."""
    rows = []
    with ProcessPoolExecutor(asked.processes) as pool:
        jobs = {
            desk: pool.submit(rows_of, *desk, asked.columns, asked.symbols)
            for desk in product(asked.kinds, asked.seeds, asked.fill_ratios)
        }
        for (kind, seed, paid), job in jobs.items():
            rows += job.result()
            print(f"{kind}, seed {seed}, fills pay {paid:g}: done", file=sys.stderr)
    return rows


def main() -> None:
    asked = arguments()
    columns = [OURS] if asked.landing else asked.columns
    rows = landed(asked) if asked.landing else drawn(asked)
    print(table(rows, columns))
    if asked.json:
        print(json.dumps([_plain(asdict(row)) for row in rows], sort_keys=True, allow_nan=False))


if __name__ == "__main__":
    main()
