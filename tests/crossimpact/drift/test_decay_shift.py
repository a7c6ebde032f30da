"""The kernel's own drift: a half-life or a size that changed is told, a steady one is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from benchmarks.decaying_desks import DecayingDesk, draw
from crossimpact.drift.decay_shift import DecayShift, decay_shift
from crossimpact.drift.null_hypothesis import TOLERANCE
from crossimpact.drift.weekly import STATISTICS, Drift, weekly_drift
from crossimpact.estimate.carried import net_of_carried
from crossimpact.kernel.decay import Decay, DecayErrors
from crossimpact.model import ImpactModel
from crossimpact.panel import Panel

WEEK = 5
KNOWN = DecayErrors(half_life_lo=24.0, half_life_hi=38.0, scale_self_se=0.08)


@cache
def desk(half_life_min: float = 30.0, weeks: int = 8) -> DecayingDesk:
    return draw(3, half_life_min=half_life_min, permanent=0.3, symbols=12, days=WEEK * weeks)


def champions(kernel: Decay | None = None, beta: float = 1.0) -> Mapping[str, ImpactModel]:
    """Planted models of the usual desk, with what a release knows of its kernel."""
    kernel = kernel or replace(desk().decay, errors=KNOWN)
    return {
        regime: replace(model, kernel=kernel, beta=beta * model.beta)
        for regime, model in desk().models.items()
    }


def weeks(panel: Panel) -> list[Panel]:
    dates = np.unique(panel.date)
    cut = [dates[at : at + WEEK] for at in range(0, len(dates), WEEK)]
    return [panel.where(np.isin(panel.date, week)) for week in cut]


def followed(models: Mapping[str, ImpactModel], panel: Panel) -> list[Drift]:
    """The normal regime week by week, each knowing the weeks before it."""
    past: dict[str, list[float]] = {name: [] for name in STATISTICS}
    kernels = {regime: model.kernel for regime, model in models.items() if model.kernel}
    found = []
    for week in weeks(panel):
        drift = weekly_drift(
            models["normal"], net_of_carried(week, models, kernels), past=past, regimes=2,
            decay=decay_shift(models, week, "normal"),
        )  # fmt: skip
        for row in drift.evidence:
            past.setdefault(row.statistic, []).append(row.p)
        found.append(drift)
    return found


def told(found: list[Drift], name: str) -> list[str]:
    return [row.verdict for week in found for row in week.evidence if row.statistic == name]


def test_a_steady_kernel_is_no_drift() -> None:
    found = followed(champions(), desk().panel)
    for name in ("half_life", "own_size"):
        assert set(told(found, name)) == {"ok"}
        rows = [row for week in found for row in week.evidence if row.statistic == name]
        inside = [row.low < row.value < row.high for row in rows]
        assert all(np.isfinite(row.p) for row in rows) and sum(inside) >= len(rows) // 2


@pytest.mark.parametrize("half_life", [8.0, 120.0])
def test_a_half_life_that_changed_asks_for_a_refit(half_life: float) -> None:
    found = followed(champions(), desk(half_life).panel)
    assert "refit" in told(found, "half_life")
    values = [row.value for week in found for row in week.evidence if row.statistic == "half_life"]
    assert (np.median(values) > 30) == (half_life > 30)


def test_own_impact_that_grew_asks_for_a_refit_and_is_no_other_half_life() -> None:
    found = followed(champions(beta=0.6), desk().panel)
    assert "refit" in told(found, "own_size") and "refit" not in told(found, "half_life")
    rows = [row for week in found for row in week.evidence if row.statistic == "own_size"]
    assert np.median([row.value for row in rows]) == pytest.approx(1 / 0.6, rel=0.15)


def test_what_is_compatible_is_the_champions_interval_and_a_tolerance() -> None:
    (week, *_) = followed(champions(), weeks(desk().panel)[0])
    row = next(row for row in week.evidence if row.statistic == "half_life")
    assert row.low == pytest.approx(24 / (1 + TOLERANCE))
    assert row.high == pytest.approx(38 * (1 + TOLERANCE))


def test_impact_that_stays_has_no_half_life_and_a_model_without_kernel_nothing() -> None:
    week = weeks(desk().panel)[0]
    stays = champions(Decay((1.0,), (0.0,), 1.5, 1.6, 5.0))
    found = decay_shift(stays, week, "normal")
    assert found.size is not None and found.log_half_life is None
    bare = {regime: replace(model, kernel=None) for regime, model in stays.items()}
    assert decay_shift(bare, week, "normal") == DecayShift(None, None)
    assert decay_shift(stays, week, "nowhere") == DecayShift(None, None)
