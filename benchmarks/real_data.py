"""Cross impact on real books: what ships, beside what a desk could do with two regressions.

    .venv/bin/python -m benchmarks.real_data SRC     # what `crossimpact ingest cn10` reads
    .venv/bin/python -m benchmarks.real_data SRC --folder OUT   # keeps the landing zone

Ten names, net aggressor flow of all prints, 30 s buckets, the mid's move over the same bucket.
Ingested by the command line, validated and turned into features as a refit does; then every regime
is fitted with its purged walk-forward, once on all dates and once without those on which the feed
froze for minutes and caught up in one print.

First table: the verdict a refit records. Its R2 is pooled over names, cells weighted by one over
the name's noise variance and far outliers left out, own terms included; test days are the last
third, in three steps. `own` is by how many of its standard errors a beta moves, at most, when cross
impact is taken out of the response, and the mean ratio of the two.

Second table: one split, first two thirds and last, R2 of each name on all its buckets without
weights and its mean over names, as such data are usually reported. Least squares of a move on own
flow, own flow and the mean of the others', all ten, linear and square-root, flows in standard
deviations of the first part; and our models of the first part, their level included.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.recovery import command
from crossimpact.estimate import baselines
from crossimpact.estimate.refit import RegimeFit, fit_regime
from crossimpact.estimate.self_impact import fit_self
from crossimpact.ladder import FITTED
from crossimpact.model import Array, ImpactModel
from crossimpact.panel import REGIMES, Panel
from pipelines import features, validate
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings

Bools = NDArray[np.bool_]

BUCKET_S = 30
#: Dates with outages of the feed, in the source's made-up calendar.
OUTAGES = ("2020-02-10", "2020-02-11", "2020-02-12", "2020-02-13")
SHOWN = (*FITTED, *baselines.NAMES)
TRAINED = 2 / 3  # of the dates, in the second table


def load(src: Path, folder: Path, bucket_s: int = BUCKET_S) -> Panel:
    """The panel a refit would see."""
    landing = folder / "landing"
    settings = Settings(home=folder / "home", bucket_s=bucket_s, flow="public")
    if not landing.exists():
        home = ("--home", settings.home)
        command("ingest", "cn10", src, folder, "--bucket", f"{bucket_s}s", *home)
    zone = Landing(landing)
    dates = zone.all_dates()
    validate.run(settings, zone, dates)
    features.prepare(settings, zone, dates)
    return features.load_panel(settings, dates)


# -- the verdict ---------------------------------------------------------------------------------


def verdict(panels: Mapping[str, Panel]) -> str:
    """Markdown, a line per panel and regime."""
    head = ["regime", "buckets", "flow", *(f"R2 {name}" for name in SHOWN), "ships", "edges"]
    head += ["R2 ships", "gain", "placebo", "basket R2", "slope", "slippage share", "own"]
    lines = [head, ["---"] * len(head)]
    for name, panel in panels.items():
        for regime in REGIMES:
            fit = fit_regime(panel, regime)
            lines.append([f"{regime}, {name}", *_cells(fit, panel)])
            print(f"{regime}, {name}: {fit.rung} {fit.reason}", file=sys.stderr)
    return _markdown(lines)


def _cells(fit: RegimeFit, panel: Panel) -> list[str]:
    m = fit.metrics
    if fit.model is None:
        return [f"{m['buckets']:.0f}", "-", *["-"] * len(SHOWN), fit.rung, *["-"] * 8]
    return [
        f"{m['buckets']:.0f}",
        fit.model.transform,
        *(f"{m[f'oos_r2_{name}']:.4f}" for name in SHOWN),
        fit.rung,
        f"{m['edges']:.0f}",
        f"{m['oos_r2_shipped']:.4f}",
        f"{m['oos_gain']:.4f} +- {m['oos_gain_se']:.4f}",
        f"{m['placebo_gain']:.4f}",
        f"{m['oos_basket_r2']:.3f}",
        f"{m['oos_slope']:.2f} +- {m['oos_slope_se']:.2f}",
        f"{m['slippage_share']:.2f}",
        _own_terms(fit.candidates["full"], panel.of_regime(fit.regime), m["slippage_share"]),
    ]


def _own_terms(full: ImpactModel, panel: Panel, share: float) -> str:
    """Beta with cross impact taken out against beta without: largest move in se, mean ratio."""
    shaped = panel.shaped(full.reference) if full.transform == "sqrt" else panel
    alone = fit_self(shaped, share=share)
    moved = np.nanmax(np.abs(full.beta - alone.beta) / alone.beta_se)
    return f"{moved:.1f} se, {np.mean(full.beta / alone.beta):.2f}"


# -- the usual measure ---------------------------------------------------------------------------


def usual(panels: Mapping[str, Panel]) -> str:
    """Markdown, a line per panel: mean over names of the later dates' R2."""
    names = ("own", "own + mean", "all ten")
    head = ["dates", *(f"{n}, {t}" for t in ("linear", "sqrt") for n in names)]
    lines = [[*head, *(f"ours, {rung}" for rung in FITTED)]]
    lines.append(["---"] * len(lines[0]))
    for name, panel in panels.items():
        dates = np.unique(panel.date)
        early = panel.date < dates[int(len(dates) * TRAINED)]
        found = [*_least_squares(panel, early), *_ours(panel, early)]
        lines.append([name, *(f"{value:.4f}" for value in found)])
    return _markdown(lines)


def _least_squares(panel: Panel, early: Bools) -> Iterator[float]:
    root = np.sign(panel.q) * np.sqrt(np.abs(panel.q))
    for flow in (panel.q, root):
        unit = flow / flow[early].std(axis=0)
        mean = (unit.sum(axis=1, keepdims=True) - unit) / (panel.n - 1)
        yield _regressed(panel, early, [unit[:, [i]] for i in range(panel.n)])
        pairs = [np.column_stack((unit[:, i], mean[:, i])) for i in range(panel.n)]
        yield _regressed(panel, early, pairs)
        yield _regressed(panel, early, [unit] * panel.n)


def _regressed(panel: Panel, early: Bools, columns: Sequence[Array]) -> float:
    predicted = np.zeros_like(panel.q)
    for i, X in enumerate(columns):
        rows = early & np.isfinite(panel.move[:, i])
        predicted[:, i] = X @ np.linalg.lstsq(X[rows], panel.move[rows, i], rcond=None)[0]
    return _mean_r2(panel, ~early, predicted)


def _ours(panel: Panel, early: Bools) -> Iterator[float]:
    """Each rung's, the regimes' models on the buckets of their label; the normal one's where a
    regime has none."""
    fits = {regime: fit_regime(panel.where(early), regime) for regime in REGIMES}
    for rung in FITTED:
        predicted = np.zeros_like(panel.q)
        for regime in REGIMES:
            ladder = fits[regime].candidates or fits["normal"].candidates
            rows = panel.regime == regime
            q = panel.q[rows]
            model = ladder[rung]
            own = model.self_bps(q) + np.sign(q) * model.alpha
            predicted[rows] = own + model.cross_bps(q)
        yield _mean_r2(panel, ~early, predicted)


def _mean_r2(panel: Panel, rows: Bools, predicted: Array) -> float:
    known = np.isfinite(panel.move) & rows[:, None]
    move = np.where(known, panel.move, 0.0)
    error = np.where(known, panel.move - predicted, 0.0)
    return float(np.mean(1 - (error**2).sum(axis=0) / (move**2).sum(axis=0)))


# -- the program ---------------------------------------------------------------------------------


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@contextmanager
def _folder(asked: Path | None) -> Iterator[Path]:
    if asked is not None:
        yield asked
        return
    with tempfile.TemporaryDirectory(prefix="real-data-") as folder:
        yield Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("src", type=Path, help="folder of the source files")
    parser.add_argument("--folder", type=Path, help="keep the landing zone and features here")
    asked = parser.parse_args()
    with _folder(asked.folder) as folder:
        panel = load(asked.src, folder)
    calm = panel.where(~np.isin(panel.date, OUTAGES))
    panels = {"all dates": panel, "without outages": calm}
    print(verdict(panels), usual(panels), sep="\n\n")


if __name__ == "__main__":
    main()
