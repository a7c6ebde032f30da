"""A refit's time dimension: what earlier buckets left, taken out before the fits and priced after.

The fits read buckets net of it (`carryover`); the release's models then carry the kernel that says
how long their impact lives (`timed`). Both are pure functions of the window's features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from crossimpact.estimate import over_time
from crossimpact.estimate.decay import DecayFit
from crossimpact.estimate.decay_placebo import placebo
from crossimpact.estimate.guardrail_levels import levels
from crossimpact.estimate.over_time import Carryover
from crossimpact.estimate.refit import RegimeFit
from crossimpact.model import ImpactModel
from crossimpact.panel import Panel
from crossimpact.path_manipulation import path_certificate
from crossimpact.progress import tell
from crossimpact.release.bundle import plain
from crossimpact.release.policy import DEFAULT, GuardrailPolicy
from pipelines import features, moments
from pipelines.plan import RefitPlan
from pipelines.record import FitRecord, Row
from pipelines.store.settings import Settings


@dataclass(frozen=True)
class Timed:
    """The fits with their kernels, and what the release's report says of the decay."""

    fits: Mapping[str, FitRecord]
    report: Row


def carryover(settings: Settings, plan: RefitPlan, panel: Panel) -> Carryover:
    """What earlier buckets left in the window's prices, as a first look at it finds it."""
    tell("decay", f"{len(plan.dates)} dates")
    found = over_time.first_look(
        panel,
        loss=plan.loss,
        moments=lambda transform: moments.made(settings, plan.dates, transform),
        policy=plan.policy,
    )
    tell("decay", found.fit.status)
    return found


def with_moved(found: RegimeFit, carried: Carryover) -> RegimeFit:
    """The fit, with what taking decay out of its buckets did to gamma and beta in its metrics."""
    before, after = carried.models.get(found.regime), found.candidates.get("full")
    if not carried.fades or before is None or after is None:
        return found
    return replace(found, metrics={**found.metrics, **over_time.moved(before, after)})


def timed(
    settings: Settings,
    dates: Sequence[str],
    fits: Mapping[str, FitRecord],
    policy: GuardrailPolicy = DEFAULT.refit.guardrails,
) -> Timed:
    """The fits' models with the kernel that all of them show together, cut to what is admissible
    over paths; without one, and with the reason, where nothing is told. With what ships go the
    guardrail levels of the desk's own flow."""
    models = {regime: made.model for regime, made in fits.items() if made.model is not None}
    panel = features.load_panel(settings, dates)
    found = over_time.decay_of(panel, models)
    with_kernel = {r: _with_kernel(fits[r], model, found) for r, model in models.items()}
    if settings.flow == "own":  # the market's flow says nothing of what the desk's trading costs
        with_kernel = {
            r: _guarded(made, panel, settings.bucket_s / 60, policy)
            for r, made in with_kernel.items()
        }
    return Timed({**fits, **with_kernel}, _report(found, with_kernel, panel.plausible()[0]))


def _with_kernel(made: FitRecord, model: ImpactModel, found: DecayFit) -> FitRecord:
    rungs, borne = over_time.with_kernel(
        {made.rung: model, **made.lower}, found.decays.get(model.regime)
    )
    numbers = {**over_time.metrics(found, model.regime), "couplings_borne": borne}
    return replace(
        made,
        model=rungs[made.rung],
        lower={rung: rungs[rung] for rung in made.lower},
        metrics={**made.metrics, **plain(numbers)},
    )


def _guarded(
    made: FitRecord, panel: Panel, bucket_min: float, policy: GuardrailPolicy
) -> FitRecord:
    if (model := made.model) is None:
        return made
    own = panel.on(model.symbols, model.sectors, model.adv)
    return replace(made, guardrails=levels(model, own, bucket_min, policy))


def _report(found: DecayFit, fits: Mapping[str, FitRecord], panel: Panel) -> Row:
    """The verdict, and what is known of the kernels that ship: the certificate of each, the
    placebo of them all."""
    models = {
        regime: made.model
        for regime, made in fits.items()
        if isinstance(made.model, ImpactModel) and made.model.kernel is not None
    }
    control = placebo(panel, models)
    return {
        "status": found.status,
        "reason": found.reason,
        "certificate": {
            regime: plain(path_certificate(model).to_dict()) for regime, model in models.items()
        },
        **({"placebo": plain(asdict(control))} if control else {}),
    }
