"""Selection: what ships is as large as unseen days say, and nothing they do not support."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.desks import draw as trial
from crossimpact.estimate.opening import open_window
from crossimpact.estimate.refit import fit_regime
from crossimpact.estimate.rungs import Found, Size, estimate, resized
from crossimpact.estimate.selection import PRIOR_SIZE, SURE, _real, sizes
from crossimpact.estimate.walk_forward import Score
from crossimpact.estimate.weighted_rows import history
from crossimpact.estimate.window import Window
from crossimpact.slope import NOTHING_TOLD, Slope

from .desk import BUCKETS, draw


@dataclass
class Calibrated(Score):
    """A score that is known by its slope alone."""

    known: Slope = NOTHING_TOLD

    def slope(self) -> Slope:
        return self.known


def at(value: float, se: float = 0.05) -> Calibrated:
    return Calibrated(predicted=[np.ones(3)], known=Slope(value, se, 30, 300))


def test_a_matrix_is_made_smaller_by_what_unseen_days_say_and_never_larger():
    found = sizes({"full": at(0.5, 0.01), "sector_block": at(1.4), "self_only": at(0.5)})
    assert set(found) == {"full", "sector_block"}
    assert found["full"].value == pytest.approx(0.5, abs=0.01)
    assert found["sector_block"].value == 1.0
    assert found["sector_block"].error > 0.3  # it stays as fitted, known to be too small
    assert sizes({"full": Calibrated()})["full"] == Size(1.0, 0.0)


def test_an_unsure_slope_moves_the_size_by_what_it_is_worth():
    found = sizes({"full": at(0.5, PRIOR_SIZE)})["full"]
    assert found.value == pytest.approx(0.75)
    assert found.error == pytest.approx(PRIOR_SIZE / np.sqrt(2))


@pytest.mark.parametrize(("value", "se", "real"), [(0.5, 0.1, True), (0.1, 0.1, False)])
def test_a_rung_is_real_when_its_slope_is_above_zero_by_more_than_chance(value, se, real):
    assert _real(at(value, se)) is real and not _real(at(-value, se))
    assert not _real(Calibrated())


def test_the_best_of_three_rungs_is_real_by_luck_as_seldom_as_one():
    """Slopes of rungs that predict nothing, alike or not: any is called real in 1% at most."""
    rng, draws = np.random.default_rng(0), 5_000
    for shared in (0.0, 0.7, 1.0):
        own, common = rng.standard_t(19, (2, draws, 3))
        slopes = np.where(rng.random((draws, 1)) < shared, common[:, :1], own)
        lucky = [any(_real(Calibrated(predicted=[np.ones(3)], known=Slope(t, 1.0, 19, 300)), 3)
                     for t in row) for row in slopes]  # fmt: skip
        assert np.mean(lucky) < 1.3 * (1 - SURE)
    assert _real(at(0.28, 0.1)) and not _real(at(0.28, 0.1), 3)


def test_a_desk_without_cross_impact_ships_none_where_one_pair_looked_right_by_luck():
    """One of the three that did: a pair of 1% of own impact, its slope 1.30 +- 0.64."""
    found = fit_regime(trial("self_only", 117, symbols=24).head, "normal")
    assert found.rung == "self_only" and not found.model.edges
    assert "to be above 0" in found.reason


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 120))
@pytest.mark.parametrize("regime", ["normal", "stressed"])
def test_no_desk_without_cross_impact_ships_a_matrix(seed, regime):
    found = fit_regime(trial("self_only", seed, symbols=24).head, regime)
    assert found.rung == "self_only" and not found.model.edges


@pytest.fixture(scope="module")
def fitted() -> tuple[Window, Found]:
    panel, _ = draw(4, T=10 * BUCKETS, n=6)
    window = open_window(panel, "normal", "huber", lambda flow: history(panel, flow))
    return window, estimate(window, len(window.blocks))


def test_a_resized_model_is_smaller_and_says_by_how_much(fitted):
    window, found = fitted
    before = found.ladder["full"]
    after = resized(window, found, {"full": Size(0.5, 0.1)}).ladder
    np.testing.assert_allclose(after["full"].gamma, 0.5 * before.gamma, atol=1e-9)
    errors = np.hypot(0.5 * before.gamma_se, 0.1 * np.abs(before.gamma))
    np.testing.assert_allclose(after["full"].gamma_se, errors)
    assert after["full"].provenance["out_of_sample_size"] == 0.5
    assert after["sector_block"] is found.ladder["sector_block"]
    assert after["self_only"] is found.ladder["self_only"]


def test_a_size_of_one_changes_errors_alone(fitted):
    window, found = fitted
    before = found.ladder["full"]
    after = resized(window, found, {"full": Size(1.0, 0.2)}).ladder["full"]
    np.testing.assert_array_equal(after.gamma, before.gamma)
    edges = before.gamma != 0
    assert (after.gamma_se[edges] > before.gamma_se[edges]).all()
    assert np.isnan(after.gamma_se[~edges]).all()
