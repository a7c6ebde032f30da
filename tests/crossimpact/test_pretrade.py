"""What a basket is expected to cost: sums to the model's own price, and errors that simulation
finds again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossimpact.kernel.decay import Decay, DecayErrors
from crossimpact.model import ImpactModel
from crossimpact.pretrade import even_flow, expected_cost

ADV = np.array([1e8, 2e8, 5e7])
#: In the dollar matrix, which is symmetric.
DOLLARS = np.array([[0, 3.0, 1.0], [3.0, 0, -2.0], [1.0, -2.0, 0]]) * 1e-10
ERRORS = DecayErrors(lags_min=(0.0, 5.0, 60.0), se_self=(0.1, 0.08, 0.05), se_cross=(0.2, 0.1, 0.1))


def model(**changed: object) -> ImpactModel:
    gamma = 1e4 * DOLLARS * ADV
    base = ImpactModel(
        symbols=("AAA", "BBB", "CCC"), sectors=("tech", "tech", "energy"), adv=ADV,
        regime="normal", alpha=np.array([1.0, 0.5, 2.0]), beta=np.array([1000.0, 800.0, 1500.0]),
        gamma=gamma, alpha_se=np.array([0.1, 0.1, 0.2]), beta_se=np.array([50.0, 40.0, 100.0]),
        gamma_se=np.where(gamma != 0, np.abs(gamma) / 5, np.nan),
        kernel=Decay.from_half_life(30.0, 0.3, scale_self=1.2, scale_cross=1.1, errors=ERRORS),
    )  # fmt: skip
    return replace(base, **changed)


def basket() -> tuple[np.ndarray, list[int], list[int]]:
    """A name bought by two orders, one late; another sold; a third bought."""
    flows = np.array(
        [
            0.02 * even_flow(0, 6, 8),
            0.01 * even_flow(3.5, 8, 8),
            -0.015 * even_flow(0.25, 7, 8),
            0.03 * even_flow(2, 5, 8),
        ]
    )
    return flows, [0, 0, 1, 2], [0, 3, 0, 2]


@pytest.mark.parametrize("transform", ["linear", "sqrt"])
@pytest.mark.parametrize("kernel", [True, False])
def test_orders_and_pairs_sum_to_the_models_price_of_the_path(transform: str, kernel: bool) -> None:
    changed = {} if kernel else {"kernel": None}
    by = model(transform=transform, reference=np.full(3, 0.01), **changed)
    flows, names, arrivals = basket()
    path = np.zeros((8, 3))
    np.add.at(path.T, names, flows)
    priced = by.path_cost(path)
    expected = expected_cost(by, flows, names, arrivals)
    assert expected.total.sum() == pytest.approx(priced.total.sum(), rel=1e-12)
    assert expected.self_now.sum() == pytest.approx(priced.self_now.sum(), rel=1e-12)
    assert expected.pairs_now.sum() == pytest.approx(priced.cross_now.sum(), rel=1e-12)
    assert expected.pairs_carried.sum() == pytest.approx(priced.cross_carried.sum(), abs=1e-9)
    assert (expected.delay[[1, 3]] != 0).all() == kernel
    assert expected.delay[[0, 2]] == pytest.approx(0, abs=1e-12)


def test_standard_errors_are_those_of_models_drawn_from_them() -> None:
    by, rng = model(kernel=replace(model().kernel, errors=ERRORS)), np.random.default_rng(3)
    flows, names, arrivals = basket()
    stated = expected_cost(by, flows, names, arrivals)
    totals, pairs = [], []
    for _ in range(1500):
        z = np.triu(rng.standard_normal((3, 3)), 1)
        drawn = replace(
            by,
            alpha=by.alpha + by.alpha_se * rng.standard_normal(3),
            beta=by.beta + by.beta_se * rng.standard_normal(3),
            gamma=by.gamma + np.nan_to_num(by.gamma_se) * (z + z.T),
        )
        again = expected_cost(drawn, flows, names, arrivals)
        totals.append(again.total)
        pairs.append((again.pairs_now + again.pairs_carried)[0, 1])
    sure = replace(
        by, kernel=replace(by.kernel, errors=replace(ERRORS, se_self=(0,) * 3, se_cross=(0,) * 3))
    )
    without_decay = expected_cost(sure, flows, names, arrivals)
    assert np.std(totals, axis=0) == pytest.approx(without_decay.se, rel=0.08)
    assert np.std(np.sum(totals, axis=1)) == pytest.approx(without_decay.basket_se, rel=0.08)
    assert np.std(pairs) == pytest.approx(stated.pairs_se[0, 1], rel=0.08)
    assert (stated.se > without_decay.se).all()


def test_the_decays_error_moves_the_cost_by_its_curve() -> None:
    """A kernel of one lag's worth: two buckets, so only the curve at lag 0 counts."""
    by = model(alpha_se=np.zeros(3), beta_se=np.zeros(3), gamma_se=np.zeros((3, 3)))
    flows = np.array([0.02 * even_flow(0, 2, 2)])
    high = replace(by, kernel=replace(by.kernel, scale_self=1.2 + ERRORS.se_self[0]))
    base, moved = (expected_cost(m, flows, [0], [0]) for m in (by, high))
    assert base.se[0] == pytest.approx(moved.total[0] - base.total[0], rel=1e-9)


def test_an_unknown_error_leaves_no_interval_where_it_counts() -> None:
    unknown = model(gamma_se=np.full((3, 3), np.nan))
    flows, names, arrivals = basket()
    both = expected_cost(unknown, flows, names, arrivals)
    assert np.isnan(both.se).all() and np.isnan(both.basket_se)
    alone = expected_cost(unknown.self_only(), flows, names, arrivals)
    assert np.isfinite(alone.se).all()
    bare = replace(model().kernel, errors=DecayErrors())
    assert np.isnan(expected_cost(model(kernel=bare), flows, names, arrivals).se).all()


def test_faster_is_dearer_when_impact_decays() -> None:
    by = model()
    totals = [
        expected_cost(by, [0.02 * even_flow(0, end, 24)], [0], [0]).total[0] for end in (24, 12, 6)
    ]
    assert totals == sorted(totals)
