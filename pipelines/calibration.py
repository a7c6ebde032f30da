"""Calibration of a release over the last dates: realized on predicted cross moves, as walk-forward
and drift measure it (`estimate.held_out`), so that a page, a gate and an alarm speak of one number.

Net of peers' flow and of what earlier own flow left; every cell counts by its noise, so that no few
large ones own it; dates are what varies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from crossimpact.errors import EstimationError
from crossimpact.estimate.carried import net_of_carried
from crossimpact.estimate.held_out import pooled_slope
from crossimpact.model import ImpactModel
from crossimpact.panel import Panel
from crossimpact.release.bundle import Release
from crossimpact.response import Response
from pipelines import features
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

DATES = 20  # a single one says too little


@dataclass(frozen=True)
class Calibration:
    """The slope of realized on predicted cross moves with its 95% interval.

    Attributes
    ----------
    slope, low, high
        1 is calibrated, 0 useless; None when nothing was predicted, or too little traded to tell.
    buckets, dates
        Used; `dates` are those looked at.
    in_sample_dates
        Of them, inside the window the release was fitted on: no evidence.
    """

    slope: float | None
    low: float | None
    high: float | None
    buckets: int
    dates: int
    in_sample_dates: int

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def dates_until(warehouse: Warehouse, date: str) -> list[str]:
    """The last `DATES` dates up to `date` whose buckets and labels are there."""
    layer = warehouse.settings.feature_layer
    there = set(warehouse.dates(layer, "buckets")) & set(warehouse.dates(layer, "regimes"))
    return sorted(other for other in there if other <= date)[-DATES:]


def calibration(settings: Settings, release: Release, dates: Sequence[str]) -> Calibration:
    """Of the release's models on those dates, each regime's buckets by its own."""
    window = release.window
    seen = sum(window.first <= date <= window.last for date in dates)
    unknown = Calibration(None, None, None, 0, len(dates), seen)
    models = answering(release)
    if not any(model.edges for model in models.values()) or not dates:
        return unknown
    try:
        panel = on_models(features.load_panel(settings, dates), models)
    except EstimationError:  # no book all along
        return unknown
    metrics = release.report.get("metrics", {})
    responses = {regime: Response.of(metrics.get(regime, {})) for regime in models}
    with threadpool_limits(limits=1):  # the same digits whatever the machine's cores
        slope = pooled_slope(models, net_of_earlier(panel, models), responses)
    if slope is None or not np.isfinite(slope.se):
        return unknown
    low, high = slope.interval()
    return Calibration(slope.value, low, high, slope.n, len(dates), seen)


def answering(release: Release) -> dict[str, ImpactModel]:
    """The models that answer now, by regime; they are of one window and so of the same symbols."""
    answers = {regime: release.model_for(regime)[0] for regime in release.models}
    return {regime: model for regime, model in answers.items() if model is not None}


def on_models(panel: Panel, models: Mapping[str, ImpactModel]) -> Panel:
    """The panel on the models' symbols, plausible cells only."""
    first = next(iter(models.values()))
    return panel.on(first.symbols, first.sectors, first.adv).plausible()[0]


def net_of_earlier(panel: Panel, models: Mapping[str, ImpactModel]) -> Panel:
    """The panel less what fades of earlier buckets' flow, as the models' kernels say: what a
    release was fitted on."""
    kernels = {r: model.kernel for r, model in models.items() if model.kernel is not None}
    return net_of_carried(panel, models, kernels) if kernels else panel
