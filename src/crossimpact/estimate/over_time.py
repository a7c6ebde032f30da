"""A refit over time: buckets read net of what earlier ones left, and the kernel that says how much.

Impact that outlives its bucket biases a fit of buckets alone, since flows come in runs. So:

1. `first_look`: models of each regime from the buckets as they are, nothing judged, and the decay
   they show;
2. `Carryover.net`: the panel without what fades of earlier buckets' flow, on which `fit_regime`
   fits and judges;
3. `with_kernel`: the decay again, of the models that ship, and those models with it.

Where no decay is told from impact that stays, nothing fades and the buckets are read as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from crossimpact.errors import EstimationError
from crossimpact.estimate.carried import net_of_carried
from crossimpact.estimate.decay import DecayFit, fit_decay
from crossimpact.estimate.decay_sums import decay_sums
from crossimpact.estimate.opening import open_window
from crossimpact.estimate.self_impact import Loss
from crossimpact.estimate.stability import stabilise
from crossimpact.estimate.weighted_rows import History, held
from crossimpact.estimate.window import fit_cross_of, net_model
from crossimpact.kernel.decay import Decay
from crossimpact.ladder import REGIMES
from crossimpact.model import ImpactModel, Transform, to_scaled
from crossimpact.panel import MIN_BUCKETS, Panel
from crossimpact.path_manipulation import largest_coupling
from crossimpact.release.policy import DEFAULT, RefitPolicy

ROOM = 1e-6  # by which a kernel stays inside what is admissible: a verdict is not rounding's


@dataclass(frozen=True)
class Carryover:
    """What earlier buckets left in a window's prices, as first seen.

    Attributes
    ----------
    models
        Per regime, of the buckets as they are; a regime that could not be fitted is absent.
    fit
        The decay they show.
    """

    models: Mapping[str, ImpactModel]
    fit: DecayFit

    @property
    def fades(self) -> bool:
        """Whether anything is to be taken out of the buckets."""
        return self.fit.status == "decays"

    def net(self, panel: Panel) -> Panel:
        """The panel without what fades of earlier buckets' flow."""
        return net_of_carried(panel, self.models, self.fit.decays) if self.fades else panel


def first_look(
    panel: Panel,
    *,
    loss: Loss = "huber",
    moments: Callable[[Transform], History] | None = None,
    policy: RefitPolicy = DEFAULT.refit,
) -> Carryover:
    """What outlives its bucket; arguments as `fit_regime`, panel of all regimes.

    Returns
    -------
    Carryover
        Never raises for thin data: the fit's status is ``unknown`` and says why.
    """
    panel, _ = panel.plausible()
    models: dict[str, ImpactModel] = {}
    with threadpool_limits(limits=1):  # the same digits whatever the machine's cores
        stored = moments or held(panel)
        for regime in REGIMES:
            if int((panel.regime == regime).sum()) < MIN_BUCKETS:
                continue
            try:
                window = open_window(panel, regime, loss, stored, policy)
                alone, cross, _ = fit_cross_of(window, len(window.blocks))
            except EstimationError:
                continue
            models[regime] = net_model(
                window, len(window.blocks), cross.share, alone, cross.scaled, cross.se, {}
            )
        return Carryover(models, decay_of(panel, models))


def decay_of(panel: Panel, models: Mapping[str, ImpactModel]) -> DecayFit:
    """How the impact of these models decays on a window's panel."""
    if not models:
        return DecayFit("unknown", "no regime could be fitted")
    try:
        return fit_decay(decay_sums(panel.plausible()[0], models))
    except EstimationError as error:
        return DecayFit("unknown", error.what)


def with_kernel(
    rungs: Mapping[str, ImpactModel], decay: Decay | None
) -> tuple[dict[str, ImpactModel], float]:
    """A regime's models of all rungs with its kernel, and the share of their couplings it bears.

    What the mid keeps beyond what a bucket's fills pay makes money for whoever turns round every
    bucket: scales are cut at the largest admissible, couplings made smaller, on every rung alike,
    until no path of linear flow makes any (`crossimpact.path_manipulation`).
    """
    if decay is None:
        return dict(rungs), 1.0
    most = (1 - ROOM) * decay.largest_scale
    kernel = replace(
        decay, scale_self=min(decay.scale_self, most), scale_cross=min(decay.scale_cross, most)
    )
    timed = {rung: replace(model, kernel=kernel) for rung, model in rungs.items()}
    borne = min(largest_coupling(model) for model in timed.values())
    if borne >= 1.0:
        return timed, 1.0
    share = max(borne - ROOM, 0.0)
    return {
        rung: replace(model, gamma=share * model.gamma, gamma_se=share * model.gamma_se)
        for rung, model in timed.items()
    }, share


def moved(before: ImpactModel, after: ImpactModel) -> dict[str, float]:
    """What taking decay out of the buckets did to a regime's estimates: slopes of those after on
    those before, 1 where it did nothing.

    Parameters
    ----------
    before
        As of `Carryover.models`, nothing judged.
    after
        The full matrix of the buckets net of what earlier ones left; a size that was chosen out of
        sample is undone.
    """
    stable = stabilise(before)[0]
    size = float(after.provenance.get("out_of_sample_size", 1.0))
    sides = {
        "gamma": tuple(to_scaled(model.gamma, model.adv) for model in (stable, after)),
        "beta": (before.beta, after.beta),
    }
    sizes = {"gamma": size, "beta": 1.0}
    return {
        f"{name}_by_decay": float((old * new).sum() / (old**2).sum()) / sizes[name]
        for name, (old, new) in sides.items()
        if old.any()
    }


def metrics(fit: DecayFit, regime: str) -> dict[str, float]:
    """Numbers the card and the gates read; what is not known is left out."""
    slope, fit = fit.slope, fit.by_regime.get(regime, fit)
    numbers = {
        "decay_gain": fit.gain,
        "decay_gain_se": fit.gain_se,
        "decay_days": float(fit.days),
        "decay_slope": slope.value,
        "decay_slope_lo": slope.low,
        "decay_slope_hi": slope.high,
        "half_life_min": fit.half_life_min.value,
        "half_life_lo": fit.half_life_min.low,
        "half_life_hi": fit.half_life_min.high,
        "permanent_share": fit.permanent.value,
        "permanent_lo": fit.permanent.low,
        "permanent_hi": fit.permanent.high,
    }
    for name, scales in (("self", fit.scale_self), ("cross", fit.scale_cross)):
        if regime in scales:
            numbers[f"scale_{name}"] = scales[regime].value
    return {name: value for name, value in numbers.items() if np.isfinite(value)}
