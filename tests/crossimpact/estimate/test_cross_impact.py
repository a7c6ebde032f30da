"""Cross impact: planted edges found with honest errors, and silence where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossimpact.estimate.common import Lead
from crossimpact.estimate.cross_impact import CrossFit, bps_per_unit, fit_cross
from crossimpact.estimate.equations import design, remaining, summed
from crossimpact.estimate.folds import folded
from crossimpact.estimate.gram import Moments
from crossimpact.estimate.template import kyle, loss
from crossimpact.estimate.weighted_rows import history
from crossimpact.model import Array
from crossimpact.panel import Panel
from crossimpact.release.policy import DEFAULT

from .desk import BUCKETS, draw, permuted, with_cells, without_cross


def days_of(panel: Panel) -> list[Moments]:
    return [day["normal"].moments() for _, day in history(panel, "linear")]


def fit(panel: Panel, beta: Array, lead: Lead | None = None) -> CrossFit:
    return fit_cross(folded(days_of(panel), panel, None), panel, beta, lead)


@pytest.fixture(scope="module")
def worlds() -> list[tuple[Panel, dict[str, Array], CrossFit]]:
    found = []
    for seed in range(4):
        panel, truth = draw(seed, T=2000, confounded=seed % 2 == 1)
        found.append((panel, truth, fit(panel, truth["beta"])))
    return found


def test_where_the_posterior_begins_is_of_no_account(worlds):
    """Fits whose selection frequencies nobody reads leave the elastic nets out."""
    for panel, truth, found in worlds:
        sums = folded(days_of(panel), panel, None)
        other = fit_cross(sums, panel, truth["beta"], frequency=False)
        np.testing.assert_array_equal(other.scaled != 0, found.scaled != 0)
        off = np.abs(other.start.coupling - found.start.coupling).max()
        assert off < 0.02 * np.abs(found.start.coupling).max()
        assert np.isnan(other.frequency).all() and not np.isnan(found.frequency).any()


def alone_on_the_last_day() -> Panel:
    """A week on whose last day the second name alone trades."""
    panel, _ = draw(1, T=5 * BUCKETS, n=4)
    last = panel.date == panel.date[-1]
    others = np.arange(panel.n) != 1
    return replace(panel, q=np.where(last[:, None] & others, 0.0, panel.q))


def test_a_row_of_which_its_own_terms_leave_nothing_has_no_say():
    """A day on which a name trades alone says nothing of its row: no matrix has a loss there. What
    rounding left of its own flow, times a weight of some 1e5, used to choose the penalty."""
    panel = alone_on_the_last_day()
    held_out = design(days_of(panel)[-1].on(panel.symbols), panel.adv).equations
    assert not remaining(held_out.gram, held_out.basis)[1].any()
    np.testing.assert_array_equal(held_out.weight > 0, [True, False, True, True])
    row = replace(held_out, weight=np.where(np.arange(panel.n) == 1, held_out.weight, 0.0))
    M = np.random.default_rng(0).normal(0, 1e3, (panel.n, panel.n)) * (1 - np.eye(panel.n))
    assert loss(row, M) == 0.0
    assert (summed(days_of(panel), panel, None).equations.weight > 0).all()


def test_two_names_and_a_market_of_the_two_leave_nothing_to_couple():
    panel, _ = draw(2, T=5 * BUCKETS, n=2)
    plain = summed(days_of(panel), panel, None).equations
    assert (plain.weight > 0).all()
    without = summed(days_of(panel), panel, None, np.array([0.5, 0.5])).equations
    assert not without.weight.any()


def test_blocks_and_the_planted_edge_are_found(worlds):
    for _, truth, found in worlds:
        planted, edges = truth["M"] != 0, found.scaled != 0
        assert edges[0, -1]
        assert (edges & planted).sum() / planted.sum() > 0.95
        assert (edges & planted).sum() / edges.sum() > 1 - DEFAULT.refit.false_discovery_rate
        assert np.linalg.norm(found.scaled - truth["M"]) < 0.2 * np.linalg.norm(truth["M"])
        assert "sector" in found.template.couplings


def test_what_comes_out_is_symmetric_and_of_one_support(worlds):
    for panel, _, found in worlds:
        for matrix in (found.scaled, found.inclusion, found.template.scaled):
            np.testing.assert_array_equal(matrix, matrix.T)
        kept = found.scaled != 0
        assert not np.diagonal(kept).any() and found.kept == np.triu(kept).sum()
        assert (found.se[kept] > 0).all() and np.isnan(found.se[~kept]).all()
        worth = np.abs(found.scaled) * bps_per_unit(panel)
        assert (worth[kept] >= DEFAULT.refit.min_edge_bps).all()
        assert ((found.frequency >= 0) & (found.frequency <= 1)).all()
        lambdas, shares = found.stability
        assert (np.diff(lambdas) < 0).all() and shares.shape == (len(lambdas), panel.n, panel.n)
        assert (found.inclusion >= 0).all() and (found.inclusion <= 1 + 1e-12).all()


def test_the_policy_says_which_pairs_are_kept(worlds):
    panel, truth, usual = worlds[0]

    def kept(**changes: float) -> CrossFit:
        own = replace(DEFAULT.refit, **changes)
        return fit_cross(folded(days_of(panel), panel, None), panel, truth["beta"], policy=own)

    most = float((np.abs(usual.scaled) * bps_per_unit(panel)).max())
    assert kept(min_edge_bps=most).kept >= 1 and kept(min_edge_bps=1.001 * most).kept == 0
    sure = kept(false_discovery_rate=1e-6)
    assert (usual.scaled[sure.scaled != 0] != 0).all() and sure.kept <= usual.kept


def test_bps_per_unit_is_what_the_larger_side_pays(worlds):
    panel, _, found = worlds[0]
    gamma = found.scaled * np.sqrt(panel.adv[None, :] / panel.adv[:, None])
    effect = np.abs(gamma) * panel.typical_flow()[None, :]
    np.testing.assert_allclose(
        np.maximum(effect, effect.T), np.abs(found.scaled) * bps_per_unit(panel)
    )


def test_standard_errors_of_kept_pairs_cover_the_truth():
    """Over worlds; template, deviations and selection included."""
    z = []
    for seed in range(10):
        panel, truth = draw(seed, T=1000)
        found = fit(panel, truth["beta"])
        kept = np.triu(found.scaled != 0, 1)
        z.append(((found.scaled - truth["M"]) / found.se)[kept])
    z = np.concatenate(z)
    assert np.mean(np.abs(z) < 2) > 0.85 and np.sqrt(np.mean(np.square(z))) < 1.5


def test_no_cross_impact_gives_no_edges():
    edges = []
    for seed in range(10):
        panel, truth = draw(seed, T=800)
        edges.append(fit(without_cross(panel, truth), truth["beta"]).kept)
    assert sum(count > 0 for count in edges) <= 2


def test_peers_that_move_prices_and_flows_are_not_cross_impact():
    edges = []
    for seed in range(6):
        panel, truth = draw(seed, T=800, confounded=True)
        edges.append(fit(without_cross(panel, truth), truth["beta"]).kept)
    assert sum(count > 0 for count in edges) <= 1


def test_the_lead_regime_says_which_pairs_and_not_how_much():
    """Amplified in the thin regime: with the lead's pairs it is found, its size is its own."""
    gains = []
    for seed in range(4):
        panel, truth = draw(seed, T=4 * BUCKETS, n=10)
        thin = without_cross(panel, truth, 1.8)
        nothing = np.zeros_like(truth["M"])
        lead = Lead(np.where(truth["M"] != 0, 0.99, 0.01), nothing, nothing, np.zeros(panel.n))
        alone, led = (fit(thin, truth["beta"], which) for which in (None, lead))
        target = 1.8 * truth["M"]
        gains.append(
            [np.linalg.norm(f.scaled - target) / np.linalg.norm(target) for f in (alone, led)]
        )
        size = (led.scaled * truth["M"]).sum() / (truth["M"] ** 2).sum()
        assert 1.2 < size < 2.4
    assert np.mean(gains, axis=0)[1] <= np.mean(gains, axis=0)[0] + 0.02


def test_names_may_come_in_any_order(worlds):
    panel, truth, one = worlds[0]
    order = np.array([3, 0, 7, 1, 6, 2, 5, 4])
    other = fit(permuted(panel, order), truth["beta"][order])
    size = np.abs(one.scaled).max()
    np.testing.assert_allclose(other.scaled, one.scaled[np.ix_(order, order)], atol=0.01 * size)


def test_names_that_came_late_have_moments_from_then_on(worlds):
    panel, truth, _ = worlds[0]
    first = panel.date == panel.date[0]
    late = replace(panel, move=np.where(first[:, None] & (np.arange(8) == 3), np.nan, panel.move))
    found = fit(late, truth["beta"])
    assert found.scaled[3, 2] != 0 and np.isfinite(found.scaled).all()


def test_one_day_has_no_folds_and_one_name_no_pairs():
    panel, truth = draw(T=BUCKETS)
    found = fit(panel, truth["beta"])
    assert np.isnan(found.frequency).all() and not found.stability[0].size
    alone, truth = draw(T=300, n=1)
    assert fit(alone, truth["beta"]).kept == 0


def test_a_kyle_world_gets_kyles_template():
    """Folds compare the families at full weight, so that the true one can win."""
    n, T = 10, 25 * BUCKETS
    rng = np.random.default_rng(5)
    mix = rng.normal(size=(n, n)) / np.sqrt(n) + np.eye(n)
    flows = rng.normal(size=(T, n)) @ mix.T * 1e-3
    target = rng.normal(size=(n, n)) / np.sqrt(n) + np.eye(n)
    response = kyle(np.cov(flows.T), target @ target.T * 20.0)
    panel, _ = draw(5, T=T, n=n, active=1.0)
    move = flows @ response + rng.normal(0, 2.0, (T, n))
    panel = replace(panel, q=flows, move=move, s=np.sign(flows) * move, adv=np.ones(n))
    found = fit(panel, np.maximum(np.diagonal(response), 1.0))
    assert set(found.template.couplings) == {"kyle"}
    off = response - np.diag(np.diagonal(response))
    assert np.linalg.norm(found.template.scaled - off) < 0.5 * np.linalg.norm(off)


def test_a_pair_that_no_row_speaks_of_is_not_kept():
    """Two names of a sector, neither with a book: the template alone gives them no number."""
    panel, truth = draw(1, T=25 * BUCKETS)
    panel = with_cells(panel, move=((slice(None), [1, 2]), np.nan))
    found = fit(panel, truth["beta"])
    assert found.scaled[1, 2] == 0 and found.kept > 0
    assert (found.se[found.scaled != 0] > 0).all()
