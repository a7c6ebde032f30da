"""The refit: validate what is new, features, fits per regime, a release, a challenger in MLflow.

The steps are plain functions over files, so the DAG maps them and `run` calls them in turn. The
plan names everything a step needs; a step whose inputs did not change changes nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from crossimpact import __version__, contract, json_log
from crossimpact.atomic import write_atomic
from crossimpact.consumer.version import Version
from crossimpact.errors import CrossImpactError, EstimationError, UsageError
from crossimpact.estimate.over_time import Carryover
from crossimpact.estimate.refit import fit_regime
from crossimpact.estimate.self_impact import Loss
from crossimpact.panel import REGIMES
from crossimpact.progress import tell
from crossimpact.release import release_files
from crossimpact.release.bundle import UNKNOWN, Release
from crossimpact.release.content import Policy, Window
from crossimpact.release.policy import DEFAULT
from pipelines import features, moments, over_time, record, validate
from pipelines.engine import LOCAL, Engine, ahead
from pipelines.over_time import Timed
from pipelines.pages.card import model_card
from pipelines.pages.card_over_time import in_words
from pipelines.plan import RefitPlan
from pipelines.record import FitRecord, Row
from pipelines.store import layout
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, text_sha256
from registry import tracking

#: A refit's plan in its folder, for whoever runs it again.
PLAN = "plan.json"


@dataclass(frozen=True)
class Registered:
    """A registered release as whoever asked for it wants to know it.

    Attributes
    ----------
    release, digest, version, run_id
        Which it is, in MLflow too.
    regimes
        Per regime who answers, why, and its metrics; None where one is not finite.
    contract, unplaced
        The contract's verdict on the window, and its flow in no bucket.
    stages
        Seconds per step, when one process did them all.
    """

    release: str
    digest: str
    version: int
    run_id: str
    as_of: str
    window: Window
    flow: str
    regimes: Mapping[str, Row]
    contract: Row
    unplaced: Row
    stages: Mapping[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data; no `stages` where they were not timed."""
        told = asdict(self)
        return told if self.stages is not None else {k: told[k] for k in told if k != "stages"}


def plan(
    settings: Settings, landing_root: Path, as_of: str | None = None,
    window_days: int | None = None, loss: Loss = "huber", now: datetime | None = None,
) -> RefitPlan:  # fmt: skip
    """The refit's window and key: the last `window_days` landed dates up to `as_of`.

    As many as the desk's policy says when that is None.

    Raises
    ------
    UsageError
        When no date is landed up to `as_of`, or the last one is in the future of `now`.
    """
    landed = Landing(landing_root).all_dates()
    if not landed:
        raise layout.empty(landing_root)
    policy = settings.policy.refit
    most = policy.window_days if window_days is None else window_days
    dates = [date for date in landed if as_of is None or date <= as_of][-most:]
    if not dates:
        raise UsageError(
            f"landing zone {landing_root} has no date up to {as_of or 'today'}",
            f"the first is {landed[0]}",
        )
    if now:
        layout.refuse_future(dates[-1], now, f"landing zone {landing_root}")
    own = [] if policy == DEFAULT.refit else [json.dumps(policy.to_dict(), sort_keys=True)]
    key = text_sha256(settings.feature_layer, loss, *dates, *own)[:8]
    return RefitPlan(
        key=f"{dates[-1]}-{settings.flow}-{key}",
        flow=settings.flow,
        bucket_s=settings.bucket_s,
        landing=landing_root.resolve(),  # it is run again from elsewhere
        dates=tuple(dates),
        loss=loss,
        policy=policy,
    )


def fit(
    settings: Settings, plan: RefitPlan, regime: str, carried: Carryover | None = None
) -> FitRecord:
    """Fit one regime and leave it as plain data in the refit's folder.

    `carried` is what earlier buckets left, where it is known already: it is the same for both
    regimes.
    """
    tell(f"fit {regime}", f"{len(plan.dates)} dates")
    made = _fitted(settings, plan, regime, carried)
    tell(f"fit {regime}", f"answered by {made.rung}")
    write_atomic(_fit_path(settings, plan, regime), json.dumps(made.to_dict(), sort_keys=True))
    return made


def fits(settings: Settings, plan: RefitPlan) -> dict[str, FitRecord]:
    """Every regime fitted, nothing written: what a reproduction needs."""
    carried = over_time.carryover(settings, plan, features.load_panel(settings, plan.dates))
    return {regime: _fitted(settings, plan, regime, carried) for regime in REGIMES}


def assemble(
    settings: Settings, plan: RefitPlan, origin: Mapping[str, str] | None = None
) -> Registered:
    """Bundle the regimes' fits as a release and register it as `challenger`.

    Parameters
    ----------
    origin
        Tags of its run that say what made it: an orchestrator's run, say.

    Raises
    ------
    EstimationError
        When not one regime could be fitted: nothing is registered.
    ContractViolation
        When the window's data are blocked by now.
    """
    tell("register", "release, figures, model card")
    fits = {regime: FitRecord.read(_fit_path(settings, plan, regime)) for regime in REGIMES}
    release, fits = _built(settings, plan, fits)
    json_log.know(release=release.digest)
    folder = plan.folder(settings) / "release"
    release_files.write(release, folder)
    write_atomic(folder.parent / PLAN, json.dumps(plan.to_dict(), sort_keys=True))
    models = release.models
    version = tracking.register(
        settings.mlflow_uri,
        settings.home / "mlflow" / "artifacts",
        folder,
        release,
        params={
            "flow": release.flow, "bucket_s": release.bucket_s, "loss": plan.loss,
            "symbols": len(next(iter(models.values())).symbols), **release.window.to_dict(),
        },
        metrics=record.metrics(fits),
        figures=lambda: record.figures(features.load_panel(settings, plan.dates), models, fits),
        card=model_card(release),
        origin=origin or {},
    )  # fmt: skip
    return summary(release, version)


def build(settings: Settings, plan: RefitPlan, fits: Mapping[str, FitRecord]) -> Release:
    """The release of a window's fits.

    Raises
    ------
    EstimationError
        When not one regime could be fitted.
    ContractViolation
        When the window's data are blocked by now.
    """
    return _built(settings, plan, fits)[0]


def _built(
    settings: Settings, plan: RefitPlan, fits: Mapping[str, FitRecord]
) -> tuple[Release, dict[str, FitRecord]]:
    """The release, and the fits with their kernels."""
    data_digest = _data_digest(settings, plan.dates)
    verdict = validate.run(settings, Landing(plan.landing), plan.dates)
    if any(result.data_digest != data_digest for result in fits.values()):
        raise CrossImpactError("the features changed after a regime was fitted", "rerun the fits")
    if not any(result.model for result in fits.values()):
        reasons = "; ".join(f"{regime}: {result.reason}" for regime, result in fits.items())
        raise EstimationError(
            f"no regime could be fitted ({reasons})", "land more dates, or widen the window"
        )
    timed = over_time.timed(settings, plan.dates, fits, plan.policy.guardrails)
    return _release(settings, plan, timed, verdict), dict(timed.fits)


def summary(release: Release, version: Version) -> Registered:
    """What a caller wants to know of a release: digest, and per regime who answers and how."""
    regimes = {}
    for regime, policy in release.fallback.items():
        metrics = release.report["metrics"].get(regime, {})
        numbers = {k: None if isinstance(v, str) else v for k, v in metrics.items()}  # nan, inf
        decay = {"decay": in_words(release, regime)}
        regimes[regime] = {"rung": policy.rung, "reason": policy.reason, **decay, **numbers}
    return Registered(
        release=release.id,
        digest=release.digest,
        version=version.version,
        run_id=version.run_id,
        as_of=release.as_of,
        window=release.window,
        flow=release.flow,
        regimes=regimes,
        contract=dict(release.report["contract"]),
        unplaced=dict(release.report["unplaced"]),
    )


def run(
    settings: Settings, landing_root: Path, as_of: str | None = None,
    window_days: int | None = None, loss: Loss = "huber", now: datetime | None = None,
    engine: Engine = LOCAL,
) -> Registered:  # fmt: skip
    """The whole refit, its pieces done by the engine.

    Raises
    ------
    ContractViolation
        When the landed data block the refit.
    EstimationError
        When no regime can be fitted.
    """
    landing, stages = Landing(landing_root), dict[str, float]()
    steps = plan(settings, landing_root, as_of, window_days, loss, now)
    with _timed(stages, "validate"):
        validate.run(settings, landing, steps.dates, engine)
    with _timed(stages, "features"):
        read = features.readable(settings, landing, steps.dates)
        ahead(engine, partial(features.build_dates, settings), read)
        features.prepare(settings, landing, steps.dates)
    with _timed(stages, "moments"):
        ahead(engine, partial(moments.prepare, settings, transforms=("linear",)), steps.dates)
        moments.prepare(settings, steps.dates, ("linear",))
    with _timed(stages, "decay"):
        panel = features.load_panel(settings, steps.dates)
        carried = over_time.carryover(settings, steps, panel)
    with _timed(stages, "fit"):
        engine.map(partial(fit, settings, steps, carried=carried), REGIMES)
    with _timed(stages, "register"):
        made = assemble(settings, steps)
    return replace(made, stages=stages)


def _fitted(
    settings: Settings, plan: RefitPlan, regime: str, carried: Carryover | None
) -> FitRecord:
    data_digest = _data_digest(settings, plan.dates)
    panel = features.load_panel(settings, plan.dates)
    carried = carried or over_time.carryover(settings, plan, panel)
    net = carried.net(panel)
    stored = partial(moments.made, settings, plan.dates)  # of the buckets as they are
    result = fit_regime(
        net,
        regime,
        loss=plan.loss,
        moments=None if carried.fades else stored,
        policy=plan.policy,
    )
    return record.of_fit(over_time.with_moved(result, carried), data_digest)


def _fit_path(settings: Settings, plan: RefitPlan, regime: str) -> Path:
    return plan.folder(settings) / f"fit-{regime}.json"


def _release(
    settings: Settings, plan: RefitPlan, timed: Timed, verdict: validate.Result
) -> Release:
    dates, max_pov, fits = plan.dates, plan.policy.max_pov.by_rung(), timed.fits
    models = {regime: result.model for regime, result in fits.items() if result.model}
    own = {} if plan.policy == DEFAULT.refit else {"policy": plan.policy.to_dict()}
    fallback = {
        regime: Policy(result.rung, result.reason, max_pov) for regime, result in fits.items()
    }
    fallback[UNKNOWN] = Policy("fixed_pov", "no label for the bucket", max_pov)
    return Release(
        as_of=dates[-1],
        window=Window(dates[0], dates[-1], len(dates)),
        flow=settings.flow,
        bucket_s=settings.bucket_s,
        contract_version=contract.VERSION,
        code_version=__version__,
        data_digest=fits[REGIMES[0]].data_digest,
        models=models,
        lower={regime: fits[regime].lower for regime in models},
        fallback=fallback,
        guardrails={regime: fits[regime].guardrails for regime in models},
        report={
            "contract": {
                name: getattr(verdict, name) for name in ("verdict", "tables", "rules", "notes")
            },
            "unplaced": features.unplaced(settings, dates),
            "data": _origins(settings, dates),
            "metrics": {regime: result.metrics for regime, result in fits.items()},
            "stability": {regime: result.stability for regime, result in fits.items()},
            "certificate": {regime: fits[regime].certificate for regime in models},
            "decay": timed.report,
            **own,
        },
    )


def _origins(settings: Settings, dates: Sequence[str]) -> dict[str, str]:
    """Per date the digest of what was landed and accepted, as the ledger of audits has it."""
    warehouse = Warehouse(settings)
    return {date: day.origin for date in dates if (day := warehouse.day(date)) is not None}


def _data_digest(settings: Settings, dates: Sequence[str]) -> str:
    """One digest of every feature partition that went in."""
    warehouse = Warehouse(settings)
    manifests = (
        warehouse.manifest(settings.feature_layer, table, date)
        for table in ("buckets", "regimes")
        for date in dates
    )
    return text_sha256(*(f"{m.table} {m.date} {m.sha256}" for m in manifests if m))


@contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    stages[name] = round(time.perf_counter() - start, 3)
