"""How impact decays on real books: the lag curve, the kernel, and what time adds out of sample.

    .venv/bin/python -m benchmarks.real_decay SRC --folder OUT              # buckets of 60 s
    .venv/bin/python -m benchmarks.real_decay SRC --folder OUT --bucket 30

The data of `real_data`: ten names, net aggressor flow of all prints, without the dates on which the
feed froze. Models are fitted on the first two thirds of the dates, the kernel on them, models once
more on the panel less what is carried, and the kernel again. R2 is of the later dates' mid moves,
mean over names: the models with a scale for own and cross impact fitted with them, and the same
with the kernel. The curve is of the first two thirds.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import real_data
from benchmarks.decay import refit
from crossimpact.estimate.carried import net_of_carried
from crossimpact.estimate.decay import DecayFit, fit_decay
from crossimpact.estimate.decay_shape import Quadratic, best_permanent
from crossimpact.estimate.decay_sums import Models, decay_sums, pushes
from crossimpact.estimate.lag_curve import LagCurve, lag_curve
from crossimpact.kernel.decay import Decay
from crossimpact.model import Array
from crossimpact.panel import Panel

SHOWN_MIN = (0, 1, 2, 4, 10, 15, 30)  # minutes after the bucket in which a lag curve is shown


def predicted(panel: Panel, models: Models, decays: Mapping[str, Decay]) -> Array:
    """Mid moves of the pushes and of what fades of earlier ones, bps, (T, n)."""
    still = replace(panel, move=np.zeros_like(panel.move))
    moves = -net_of_carried(still, models, decays).move
    both = pushes(panel, models)
    for k, regime in enumerate(models):
        moves = moves + decays[regime].scale_self * both[:, :, 2 * k]
        moves = moves + decays[regime].scale_cross * both[:, :, 2 * k + 1]
    return np.asarray(moves)


def staying(panel: Panel, models: Models) -> dict[str, Decay]:
    """Impact that stays, with its scales: the same models without time."""
    sums = decay_sums(panel, models)
    scales = best_permanent(Quadratic.weighted(sums, np.ones((1, sums.days)))).scales[0]
    width = sums.rates.bucket_min
    return {
        regime: Decay((1.0,), (0.0,), float(scales[2 * k]), float(scales[2 * k + 1]), width)
        for k, regime in enumerate(models)
    }


def later_r2(panel: Panel, early: real_data.Bools, moves: Array) -> float:
    """Of later dates' moves, each name's mean of the early ones taken out."""
    level = np.nanmean(np.where(early[:, None], panel.move - moves, np.nan), axis=0)
    return real_data._mean_r2(panel, ~early, moves + level)


def report(panel: Panel) -> str:
    dates = np.unique(panel.date)
    early = panel.date < dates[int(len(dates) * real_data.TRAINED)]
    first = panel.where(early)
    models = refit(first)
    decays = fit_decay(decay_sums(first, models)).decays
    net = refit(net_of_carried(first, models, decays)) if decays else models
    fit = fit_decay(decay_sums(first, net))
    lines = [_curve(lag_curve(first, net, lags=_lags(first))), _kernel(fit)]
    bucket = later_r2(panel, early, predicted(panel, models, staying(first, models)))
    lines.append(f"later R2 of the models without time: {bucket:.4f}")
    if fit.decays:
        over_time = later_r2(panel, early, predicted(panel, net, fit.decays))
        lines.append(f"later R2 with the kernel: {over_time:.4f}")
    return "\n\n".join(lines)


def _lags(panel: Panel) -> int:
    width = np.median(np.diff(np.unique(panel.ts))) / np.timedelta64(1, "m")
    return round(SHOWN_MIN[-1] / float(width))


def _curve(curve: LagCurve) -> str:
    """What is left, relative to the bucket's end, own and cross."""
    rows = ["| minutes | own | cross |", "|---:|---:|---:|"]
    for k in (int(np.argmin(np.abs(curve.lags_min - shown))) for shown in SHOWN_MIN):
        own, cross = (
            f"{level[k] / level[0]:.2f} +- {se[k] / level[0]:.2f}"
            for level, se in ((curve.own, curve.own_se), (curve.cross, curve.cross_se))
        )
        rows.append(f"| {curve.lags_min[k]:g} | {own} | {cross} |")
    return "\n".join(rows)


def _kernel(fit: DecayFit) -> str:
    half, share = fit.half_life_min, fit.permanent
    text = (
        f"{fit.status}: {fit.reason}; half-life {half.value:.1f} ({half.low:.1f} to "
        f"{half.high:.1f}) min, permanent {share.value:.2f} ({share.low:.2f} to {share.high:.2f}), "
        f"gain on later days {100 * fit.gain:.2f} +- {100 * fit.gain_se:.2f} points"
    )
    shapes = [
        f"{regime}: shares {np.round(d.weights, 2).tolist()}, half-lives "
        f"{[round(np.log(2) / r, 1) if r else 'inf' for r in d.rates_per_min]} min, scales "
        f"{d.scale_self:.2f} and {d.scale_cross:.2f}"
        for regime, d in fit.decays.items()
    ]
    return "\n".join([text, *shapes])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("src", type=Path, help="folder of the source files")
    parser.add_argument("--folder", type=Path, required=True, help="landing zone and features")
    parser.add_argument("--bucket", type=int, default=60, help="seconds")
    asked = parser.parse_args()
    panel = real_data.load(asked.src, asked.folder, asked.bucket)
    with threadpool_limits(limits=1):
        print(report(panel.where(~np.isin(panel.date, real_data.OUTAGES))))


if __name__ == "__main__":
    main()
