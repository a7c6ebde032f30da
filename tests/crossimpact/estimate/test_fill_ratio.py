"""Fill ratio: planted ratios come back with errors that cover; what no cell tells is the market's.

Here the mid keeps own and cross impact whole at a bucket's end and its fills pay a part of each, so
the model's alpha, beta and gamma, what fills pay, are those parts of what moves the mid.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from crossimpact.estimate.fill_ratio import (
    MIN_CELLS,
    UNKNOWN,
    Ratio,
    cross_ratio,
    own_ratio,
    pooled,
)
from crossimpact.estimate.refit import RegimeFit, fit_regime
from crossimpact.estimate.robust import random_effects
from crossimpact.estimate.weighted_rows import day_rows
from crossimpact.model import Array, to_scaled
from crossimpact.panel import Panel
from crossimpact.response import Response

from .desk import BUCKETS, draw

OWN, CROSS = 0.7, 0.55


def paying(
    seed: int = 0, own: float = OWN, cross: float = CROSS, T: int = 1600, **knobs: float
) -> tuple[Panel, dict[str, Array]]:
    """A desk whose fills pay `own` and `cross` of what its mids keep."""
    panel, truth = draw(seed, T=T, **knobs)
    short = (1 - own) * truth["beta"] * panel.q + (1 - cross) * truth["cross"]
    return replace(panel, s=panel.s - np.sign(panel.q) * short), truth


def off(ratio: Ratio, value: float) -> float:
    """Distance in standard errors."""
    return abs(ratio.value - value) / ratio.se


# -- what cells tell ---------------------------------------------------------------------------


@pytest.mark.parametrize("own", [0.5, 0.6, 0.95])
@pytest.mark.parametrize("cross", [0.5, 0.6, 0.95])
def test_planted_ratios_come_back(own, cross):
    panel, truth = paying(1, own, cross)
    found = cross_ratio(panel, cross * truth["cross"])
    assert off(found, cross) < 3.5 and found.told
    found = own_ratio(panel, cross * truth["cross"], cross)
    assert off(found, own) < 3.5 and found.se < 0.05


def test_errors_of_the_ratio_cover():
    inside = 0
    for seed in range(60):
        panel, truth = paying(seed, T=6 * BUCKETS)
        inside += off(cross_ratio(panel, truth["cross"]), CROSS) < 1.96
    assert binomtest(inside, 60, 0.95).pvalue > 1e-3


@pytest.mark.parametrize("size", [0.2, 3.0])
def test_a_wrong_size_of_the_prediction_drops_out(size):
    panel, truth = paying(2)
    a, b = cross_ratio(panel, truth["cross"]), cross_ratio(panel, size * truth["cross"])
    assert a.value == pytest.approx(b.value) and a.se == pytest.approx(b.se)


def test_any_prediction_that_goes_with_the_true_push_will_do():
    panel, truth = paying(3)
    half = np.random.default_rng(0).random(truth["gamma"].shape) < 0.5
    assert off(cross_ratio(panel, panel.q @ (truth["gamma"] * half).T), CROSS) < 3.5


def test_fills_that_pay_the_mid_move_have_a_ratio_of_exactly_one():
    panel, truth = paying(4)
    public = replace(panel, s=np.where(panel.q != 0, np.sign(panel.q) * panel.move, np.nan))
    assert cross_ratio(public, truth["cross"]).value == pytest.approx(1.0, abs=1e-9)


# -- what no cell tells ------------------------------------------------------------------------


def few(panel: Panel, cells: int = MIN_CELLS - 1) -> Panel:
    """The panel with so many fills a name left."""
    kept = (np.cumsum(panel.q != 0, axis=0) <= cells) & (panel.q != 0)
    return replace(panel, s=np.where(kept, panel.s, np.nan))


def test_too_few_fills_tell_nothing():
    panel, truth = paying(5)
    assert cross_ratio(few(panel), truth["cross"]) == UNKNOWN and own_ratio(few(panel)) == UNKNOWN
    stale = replace(panel, move=np.full_like(panel.move, np.nan))
    assert cross_ratio(stale, truth["cross"]) == UNKNOWN
    assert cross_ratio(panel, np.zeros_like(truth["cross"])) == UNKNOWN


def test_a_regime_that_tells_nothing_gets_the_markets_ratio_and_says_so():
    found = pooled({"normal": Ratio(0.6, 0.02), "stressed": UNKNOWN})
    assert found["normal"].source == "own"
    assert found["stressed"].source == "market"
    assert found["stressed"].value == pytest.approx(0.6)


def test_own_impacts_ratio_stands_in_for_the_cross_one():
    found = pooled({"normal": UNKNOWN}, beside=Ratio(0.65, 0.01))["normal"]
    assert (found.value, found.source) == (pytest.approx(0.65), "market")
    assert found.se > 0.1  # the two may differ


def test_what_nobody_tells_is_unknown_and_not_a_silent_one():
    found = pooled({"normal": UNKNOWN, "stressed": UNKNOWN})
    assert found == {"normal": UNKNOWN, "stressed": UNKNOWN}
    assert pooled({"normal": Ratio(-4.0, 1.7)}, beside=Ratio(2.6, 2.0)) == {"normal": UNKNOWN}
    assert not UNKNOWN.told and UNKNOWN.source == "unknown"


@pytest.mark.parametrize("seed", range(3))
def test_regimes_are_pooled_as_far_as_they_are_alike(seed):
    rng = np.random.default_rng(seed)
    values = 0.6 + 0.05 * rng.normal(size=2)
    ratios = {r: Ratio(float(v), 0.05) for r, v in zip(("normal", "stressed"), values, strict=True)}
    found = pooled(ratios)
    assert abs(found["normal"].value - found["stressed"].value) < np.ptp(values)
    apart = pooled({"normal": Ratio(0.5, 0.01), "stressed": Ratio(0.9, 0.01)})
    assert apart["stressed"].value - apart["normal"].value > 0.39


# -- what is made of it ------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_response_shows_what_fills_pay_whatever_the_mix(share):
    panel, truth = paying(noise=0.0, fill=0.0)
    panel = replace(panel, s=panel.s - truth["alpha"])
    response = Response(share, OWN, CROSS)
    own, cross = OWN * truth["beta"] * panel.q, CROSS * truth["cross"]
    traded = panel.q != 0
    np.testing.assert_allclose(response.to_own(panel, cross)[traded], own[traded], atol=1e-9)
    np.testing.assert_allclose(response.to_cross(panel, own)[traded], cross[traded], atol=1e-9)


def test_sums_and_rows_paid_are_those_of_the_multiplied_mid_moves():
    panel, _ = paying(noise=2.0, fill=1.0, T=BUCKETS)
    short = replace(panel, move=CROSS * panel.move)
    rows = day_rows(panel, "linear")["normal"]
    twice = rows.paid(0.5).paid(2 * CROSS).moments()
    wanted = day_rows(short, "linear")["normal"].moments().arrays()
    for ours in (rows.moments().paid(CROSS), rows.paid(CROSS).moments(), twice):
        for name, value in ours.arrays().items():
            np.testing.assert_allclose(value, wanted[name], rtol=1e-6, atol=1e-9, err_msg=name)


def size(found: RegimeFit, truth: dict[str, Array]) -> tuple[float, float]:
    """Of beta, and of gamma, relative to what moves the mid."""
    scaled = to_scaled(found.model.gamma, found.model.adv)
    gamma = float((scaled * truth["M"]).sum() / (truth["M"] ** 2).sum())
    return float(np.mean(found.model.beta / truth["beta"])), gamma


@pytest.fixture(scope="module")
def desk() -> tuple[Panel, dict[str, Array]]:
    return paying(6, T=800, noise=3.0, fill=2.0)


def test_gamma_and_beta_are_what_fills_pay(desk):
    panel, truth = desk
    beta, gamma = size(fit_regime(panel, "normal"), truth)
    assert beta == pytest.approx(OWN, abs=0.06)
    assert gamma == pytest.approx(CROSS, abs=0.06)


def test_fills_of_one_day_do_not_pass_for_a_ratio_without_an_error(desk):
    """Clustered by its one day, the error would be zero whatever the noise."""
    panel, truth = desk
    wild = 60 * np.random.default_rng(0).normal(size=panel.s.shape)
    noisy = few(replace(panel, s=panel.s + wild), MIN_CELLS + 2)
    assert cross_ratio(noisy, truth["cross"]).se > 0.5
    recorded = fit_regime(noisy, "normal").model.provenance["fill_ratio"]
    assert recorded["cross"] == {"value": 1.0, "se": None, "source": "unknown"}


@given(st.floats(0.05, 1.5), st.floats(1e-6, 0.2))
def test_a_ratio_alone_has_no_spread_between_regimes_whatever_its_rounding(value, se):
    """Its distance from its own mean is rounding, which another processor rounds otherwise."""
    assert random_effects(np.array([value]), np.array([se])) == (value, 0.0)
    (ratio,) = pooled({"normal": Ratio(value, se, "own")}).values()
    assert ratio.told and ratio.value == pytest.approx(value)
