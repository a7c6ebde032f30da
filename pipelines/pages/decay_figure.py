"""The figure of a decay kernel: what is left of a push, as fitted and as the window shows it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossimpact.estimate.lag_curve import LagCurve
from crossimpact.kernel.decay import Decay
from crossimpact.model import Array, ImpactModel
from pipelines.pages.card_over_time import half_life, permanent
from pipelines.pages.figures import COST, HELP
from pipelines.pages.plots import MUTED, style, to_png

#: Panels of the figure: what the kernel calls the push, the curve, the title and the colour.
SIDES = (("self", "own", "own push", HELP), ("cross", "cross", "others' pushes", COST))


def decay_curve(model: ImpactModel, curve: LagCurve | None = None) -> bytes:
    """PNG of ``scale g(t)`` of own and of the others' pushes, with two standard errors.

    Parameters
    ----------
    model
        With a kernel.
    curve
        Levels with no shape assumed, of all regimes together; drawn as points.
    """
    kernel = model.kernel
    if kernel is None:
        raise ValueError(f"the model of regime {model.regime} has no kernel to draw")
    with style():
        figure = Figure(figsize=(8.6, 4.0), layout="constrained")
        for axes, (kind, name, title, colour) in zip(
            figure.subplots(1, 2, sharey=True), SIDES, strict=True
        ):
            if kind == "self" or model.edges:
                _fitted(axes, kernel, kind, colour)
                if curve is not None:
                    _seen(axes, curve, name)
                axes.legend(loc="upper right")
            else:
                axes.text(0.5, 0.5, "no pair ships", transform=axes.transAxes, ha="center")
            axes.axhline(0, color=MUTED, linewidth=0.8)
            axes.set_title(title)
            axes.set_xlabel("minutes after the bucket's end")
        figure.axes[0].set_ylabel("level of the mid, bps per bps its fills paid")
        figure.suptitle(_title(model.regime, kernel), fontsize=11)
        return to_png(figure)


def _title(regime: str, kernel: Decay) -> str:
    if kernel.permanent == 1:
        return f"what is left of a push, regime {regime}: it stays"
    return (
        f"what is left of a push, regime {regime}: half-life {half_life(kernel)} min, "
        f"{permanent(kernel)} stays"
    )


def _fitted(axes: Axes, kernel: Decay, kind: str, colour: str) -> None:
    scale, errors = float(getattr(kernel, f"scale_{kind}")), kernel.errors
    at = np.array(errors.lags_min) if errors.lags_min else kernel.bucket_min * np.arange(25.0)
    fine = np.linspace(0.0, at[-1], 200)
    axes.plot(fine, scale * kernel.value(fine), color=colour, linewidth=1.8, label="kernel ± 2 se")
    if errors.lags_min:
        reach = 2 * np.array(getattr(errors, f"se_{kind}"))
        level: Array = scale * kernel.value(at)
        axes.fill_between(at, level - reach, level + reach, color=colour, alpha=0.2, linewidth=0)


def _seen(axes: Axes, curve: LagCurve, name: str) -> None:
    axes.errorbar(
        curve.lags_min, getattr(curve, name), 2 * getattr(curve, f"{name}_se"),
        fmt="o", color=MUTED, markersize=3, linewidth=0.8, capsize=1.5, zorder=0,
        label="no shape assumed ± 2 se",
    )  # fmt: skip
