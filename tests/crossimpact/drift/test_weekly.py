"""Drift: silent on the champion's own world, loud when gamma changes, modest when data are thin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from crossimpact.drift import e_detector, weekly
from crossimpact.drift.conditions import Shift
from crossimpact.drift.null_hypothesis import Measure
from crossimpact.drift.weekly import (
    MIN_BUCKETS,
    STATISTICS,
    Drift,
    weekly_drift,
)
from crossimpact.estimate.refit import RegimeFit, fit_regime
from crossimpact.model import Array
from crossimpact.panel import Panel
from crossimpact.release.policy import DEFAULT
from crossimpact.response import Response
from tests.crossimpact.estimate.desk import BUCKETS, draw, with_cells, without_cross
from tests.crossimpact.estimate.test_held_out import champion, moved

WEEK, WINDOW = 5, 15  # days


#: Evidence at which one of a regime's statistics raises an alarm.
LIMIT = e_detector.limit(len(STATISTICS), DEFAULT.drift.alpha)


def statistic(found: Drift, name: str) -> Any:
    return next(row for row in found.evidence if row.statistic == name)


def weeks(panel: Panel, first: int, count: int) -> Iterator[Panel]:
    """Weeks of a panel from a day on."""
    day = np.arange(len(panel.ts)) // BUCKETS
    for at in range(first, first + WEEK * count, WEEK):
        yield panel.where((day >= at) & (day < at + WEEK))


def followed(
    fit: RegimeFit, panel: Panel, first: int, count: int, **kwargs: Any
) -> tuple[list[Drift], dict[str, list[float]]]:
    """A champion week by week, each knowing the weeks before it."""
    past: dict[str, list[float]] = {name: [] for name in STATISTICS}
    found = []
    for week in weeks(panel, first, count):
        assert fit.model is not None
        drift = weekly_drift(
            fit.model, week, response=Response.of(fit.metrics), past=past, **kwargs
        )
        for row in drift.evidence:
            past.setdefault(row.statistic, []).append(row.p)
        found.append(drift)
    return found, past


@pytest.fixture(scope="module")
def fitted() -> list[tuple[RegimeFit, Panel, dict[str, Array]]]:
    """Champions that were really fitted, on the first days of their desks, estimation error and
    all, and months of the same world after."""
    desks = []
    for seed in range(3):
        panel, truth = draw(seed, T=BUCKETS * (WINDOW + 13 * WEEK), common=0.3, noise=5.0)
        first = panel.where(np.arange(len(panel.ts)) < BUCKETS * WINDOW)
        desks.append((fit_regime(first, "normal"), panel, truth))
    return desks


def test_weeks_of_an_unchanged_world_keep_to_their_error_rate(fitted):
    """Every p-value is uniform or larger, and no desk sees an alarm."""
    p: dict[str, list[float]] = {name: [] for name in STATISTICS}
    for fit, panel, _ in fitted:
        found, past = followed(fit, panel, WINDOW, 13)
        assert {drift.verdict for drift in found} == {"ok"}
        for name in STATISTICS:
            p[name] += past[name]
    for name, values in p.items():
        hits = int((np.array(values) <= 0.05).sum())
        assert binomtest(hits, len(values), 0.05, alternative="greater").pvalue > 0.01, name


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_half_of_gamma_gained_or_lost_asks_for_a_refit_within_a_quarter(fitted, factor):
    for fit, panel, truth in fitted[:2]:
        found, _ = followed(fit, without_cross(panel, truth, factor), WINDOW, 13)
        verdicts = [drift.verdict for drift in found]
        assert verdicts[-1] == "refit" and "demote" not in verdicts
        assert next(k for k, verdict in enumerate(verdicts) if verdict != "ok") < 4
        assert f"limit {LIMIT:.3g}" in found[-1].reason


def test_a_reversed_gamma_is_demoted_in_its_first_week(fitted):
    """One week is enough, long before the evidence of many reaches its limit."""
    for fit, panel, truth in fitted:
        lower = {"sector_block": fit.candidates["sector_block"]}
        turned = without_cross(panel, truth, -1.0)
        (found,), _ = followed(fit, turned, WINDOW, 1, lower=lower, regimes=2)
        assert found.verdict == "demote" and "below zero with 99.9% confidence" in found.reason
        assert found.fallback == "self_only"  # what was reversed is reversed in the blocks too
        harm = statistic(found, "harm")
        assert harm.value < 0 and harm.value + 4.5 * harm.se < 0  # Student's of 8 degrees


def one_bad_fill(panel: Panel) -> Panel:
    at = int(np.flatnonzero(panel.q[:, 2])[40])
    return with_cells(panel, s=((at, 2), panel.s[at, 2] + 800.0))


def one_bad_quote(panel: Panel) -> Panel:
    """A name 15% up for a bucket and back in the next."""
    return with_cells(panel, move=(([100, 101], [3, 3]), [1500.0, -1500.0]))


def three_hours_without_quotes(panel: Panel) -> Panel:
    return with_cells(panel, move=(slice(90, 126), np.nan), s=(slice(90, 126), np.nan))


@pytest.mark.parametrize("spoilt", [one_bad_fill, one_bad_quote, three_hours_without_quotes])
def test_bad_cells_are_no_drift(fitted, spoilt):
    for fit, panel, _ in fitted:
        assert fit.model is not None
        for week in weeks(panel, WINDOW, 2):
            found = weekly_drift(fit.model, spoilt(week), response=Response.of(fit.metrics))
            assert found.verdict == "ok"


@pytest.mark.parametrize(
    ("upper", "p", "verdict"),
    [
        (-0.01, 9e-5, "demote"),
        (0.01, 9e-5, "watch"),
        (-0.01, 1e-4, "watch"),
        (-0.01, 0.01, "ok"),
        (np.nan, np.nan, "ok"),
    ],
)
def test_a_sign_is_wrong_when_below_zero_and_beyond_chance(monkeypatch, upper, p, verdict):
    """Where next to nothing is predicted, a slope of zero is compatible with the champion, and one
    of fifty weeks is below zero with 98% confidence."""
    panel, truth = draw(3, T=390)
    harm = Measure(-2.0, 0.4, 0.5, np.nan, p, upper)
    monkeypatch.setattr(weekly, "measure", lambda *_: {"harm": harm})
    found = weekly_drift(champion(panel, truth), panel, regimes=2)
    assert statistic(found, "harm").verdict == verdict


def test_deviations_that_do_harm_fall_back_to_blocks_that_do_not():
    """The champion's blocks are true, what it adds to them is the opposite of the truth."""
    panel, truth = draw(1, T=390, noise=2.0, fill=1.0)
    true = champion(panel, truth)
    wrong = replace(true, gamma=-true.gamma)
    found = weekly_drift(wrong, panel, lower={"sector_block": true})
    assert (found.verdict, found.fallback) == ("demote", "sector_block")
    assert weekly_drift(wrong, panel, lower={"sector_block": wrong}).fallback == "self_only"
    assert weekly_drift(wrong, panel).fallback == "self_only"


def test_a_doubled_and_a_vanished_gamma_are_alarms_at_once_when_the_week_is_clear():
    panel, truth = draw(1, T=390, noise=2.0, fill=1.0)
    model = champion(panel, truth)
    doubled = weekly_drift(model, without_cross(panel, truth, 2.0))
    assert "calibration slope" in doubled.reason and "±" in doubled.reason
    assert doubled.verdict == "refit" and abs(doubled.slope - 2) < 3.5 * doubled.slope_se
    gone = weekly_drift(model, without_cross(panel, truth, 0.0))
    assert gone.verdict == "demote" and "0.50 and more" in gone.reason


def test_other_self_impact_is_not_drift_of_gamma():
    panel, truth = draw(2, T=390)
    model = champion(panel, truth)
    before = weekly_drift(model, panel)
    after = weekly_drift(model, moved(panel, 0.5 * truth["beta"] * panel.q))
    for name in ("move_slope", "frobenius", "harm"):
        old, new = statistic(before, name), statistic(after, name)
        assert new.value == pytest.approx(old.value, abs=1e-6)


def test_a_week_is_what_it_is_whatever_came_before(fitted):
    """Earlier weeks change the running evidence only, and that is the detector's of all of them."""
    fit, panel, _ = fitted[0]
    found, past = followed(fit, panel, WINDOW, 3)
    assert fit.model is not None
    alone = weekly_drift(fit.model, next(weeks(panel, WINDOW + 10, 1)),
                         response=Response.of(fit.metrics))  # fmt: skip
    for row, other in zip(found[-1].evidence, alone.evidence, strict=True):
        assert (row.value, row.p, row.e) == pytest.approx(
            (other.value, other.p, other.e), nan_ok=True
        )
        if row.statistic in STATISTICS:
            assert row.evidence == pytest.approx(e_detector.evidence(past[row.statistic]))


def test_regimes_share_the_error_rate():
    panel, truth = draw(3, T=390)
    one, two = (weekly_drift(champion(panel, truth), panel, regimes=k) for k in (1, 2))
    for a, b in zip(one.evidence, two.evidence, strict=True):
        assert b.limit == 2 * a.limit and b.evidence == a.evidence


@pytest.mark.parametrize(("share", "verdict"), [(0.8, "ok"), (1.25, "watch"), (90.0, "watch")])
def test_evidence_of_twenty_is_watched(share, verdict):
    """Of two weeks, far below the limit, and whatever the number of regimes."""
    panel, truth = draw(3, T=390)
    model = champion(panel, truth)
    now = statistic(weekly_drift(model, panel), "move_slope").p
    grid = np.geomspace(0.5, 1e-9, 2000)
    p = float(next(p for p in grid if e_detector.evidence([p, now]) > share * e_detector.WATCH))
    for regimes in (1, 2):
        found = weekly_drift(model, panel, past={"move_slope": [p]}, regimes=regimes)
        row = statistic(found, "move_slope")
        assert row.evidence < 0.3 * row.limit
        assert found.verdict == row.verdict == verdict
        assert verdict == "ok" or found.reason == row.reason


@pytest.mark.parametrize(("share", "verdict"), [(0.1, "ok"), (0.5, "watch"), (2.0, "refit")])
def test_old_evidence_is_watched_from_a_quarter_of_the_limit(share, verdict):
    """Whatever little the last two weeks say."""
    panel, truth = draw(3, T=390)
    model, limit = champion(panel, truth), LIMIT
    rest = [0.5, statistic(weekly_drift(model, panel), "move_slope").p]
    assert e_detector.evidence(rest) < e_detector.WATCH
    grid = np.geomspace(0.5, 1e-15, 4000)
    p = float(next(p for p in grid if e_detector.evidence([p, *rest]) > share * limit))
    assert weekly_drift(model, panel, past={"move_slope": [p, 0.5]}).verdict == verdict


def test_other_conditions_are_watched_once_they_are_sure_and_large():
    panel, truth = draw(3, T=390)
    model = champion(panel, truth)
    large, small = Shift(3.0, 0.5, 2.0, 1e-6), Shift(1.2, 0.5, 2.0, 1e-6)

    def verdict(shift: Shift, weeks: int) -> str:
        past = {"flow": [shift.p] * (weeks - 1)}
        return weekly_drift(model, panel, past=past, conditions={"flow": shift}).verdict

    assert verdict(large, 4) == "watch" and verdict(small, 4) == "ok"
    assert verdict(replace(large, p=0.3), 4) == "ok"


def test_a_champion_without_cross_terms_cannot_drift():
    panel, truth = draw(3, T=390)
    found = weekly_drift(champion(panel, truth).self_only(), panel)
    assert found.verdict == "ok" and "no cross cost is predicted" in found.reason
    assert found.to_dict()["slope"] is None
    assert all(row.to_dict()["p"] is None for row in found.evidence)


def test_too_few_buckets_say_so_and_never_alarm():
    panel, truth = draw(4, T=MIN_BUCKETS - 1, noise=0.1, fill=0.1)
    turned = without_cross(panel, truth, -1.0)
    found = weekly_drift(champion(panel, truth), turned)
    assert found.verdict == "ok" and f"{MIN_BUCKETS} needed" in found.reason
    assert all(np.isnan(row.p) and row.evidence == 0 for row in found.evidence)


def test_a_week_the_champion_was_fitted_on_is_no_evidence():
    panel, truth = draw(1, T=390, noise=2.0, fill=1.0)
    turned = without_cross(panel, truth, -1.0)
    found = weekly_drift(champion(panel, truth), turned, unseen=False)
    assert found.verdict == "ok" and "fitted on this week" in found.reason
    assert found.slope < 0 and all(np.isnan(row.p) for row in found.evidence)


def test_a_week_without_trades_gives_no_verdict():
    panel, truth = draw(4, T=390)
    idle = replace(panel, q=np.zeros_like(panel.q), s=np.full_like(panel.s, np.nan))
    found = weekly_drift(champion(panel, truth), idle)
    assert found.verdict == "ok" and np.isnan(found.slope)


def test_one_impossible_cell_is_no_drift():
    panel, truth = draw(6, T=390)
    at = int(np.flatnonzero(panel.q[:, 0])[7])
    model = champion(panel, truth)
    clean = weekly_drift(model, panel)
    for name in ("q", "s", "move"):
        found = weekly_drift(model, with_cells(panel, **{name: ((at, 0), 1e12)}))
        assert found.verdict == clean.verdict
        old, new = statistic(clean, "move_slope"), statistic(found, "move_slope")
        assert abs(new.value - old.value) < old.se


def test_a_smaller_alpha_asks_for_more_evidence_in_proportion():
    panel, truth = draw(3, T=390)
    usual, strict = (
        weekly_drift(champion(panel, truth), panel, alpha=alpha)
        for alpha in (DEFAULT.drift.alpha, DEFAULT.drift.alpha / 4)
    )
    for row, other in zip(usual.evidence, strict.evidence, strict=True):
        assert other.limit == pytest.approx(4 * row.limit) and other.evidence == row.evidence
