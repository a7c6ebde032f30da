"""Templates: planted group couplings come back, silence stays silent, Kyle's matrix by its law."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossimpact.estimate import template
from crossimpact.estimate.equations import Equations, summed
from crossimpact.estimate.template import LENT_SPREAD, fit_blocks, fit_kyle, fit_lent, kyle
from crossimpact.estimate.weighted_rows import history
from crossimpact.model import Array

from .desk import BUCKETS, draw
from .test_shrinkage import drawn

SECTORS = ("A",) * 4 + ("B",) * 3 + ("C",) * 3
N = len(SECTORS)


def betas(seed: int) -> Array:
    return np.random.default_rng((seed, 4)).uniform(0.5, 2, N)


def planted(rho: dict[tuple[str, str], float], market: float = 0.0) -> Array:
    theta = np.full((N, N), market)
    for (a, b), value in rho.items():
        cell = [[{x, y} == {a, b} for y in SECTORS] for x in SECTORS]
        theta += value * np.array(cell)
    np.fill_diagonal(theta, 0.0)
    return theta


def rows(seed: int, theta: Array, T: int = 800, noise: float = 3.0) -> Equations:
    beta = betas(seed)
    return drawn(seed, theta, np.sqrt(np.outer(beta, beta)), T, noise)


def positive(seed: int, n: int = 6) -> Array:
    A = np.random.default_rng(seed).normal(size=(n, n + 3))
    return A @ A.T / n


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("rho", "market", "names"),
    [
        ({}, 0.3, {"market"}),
        ({("A", "A"): 0.4, ("B", "B"): 0.4, ("C", "C"): 0.4}, 0.0, {"sector"}),
        ({("A", "B"): 0.5}, 0.0, {"A|B"}),
        ({("A", "A"): 0.4, ("B", "B"): 0.4, ("C", "C"): 0.4, ("A", "C"): -0.3}, 0.3, set()),
    ],
    ids=["market", "sector", "block", "all"],
)
def test_planted_couplings_come_back(seed, rho, market, names):
    theta, beta = planted(rho, market), betas(seed)
    found = fit_blocks(rows(seed, theta), beta, SECTORS)
    scale = np.sqrt(np.outer(beta, beta))
    error = np.linalg.norm(found.scaled - theta * scale) / np.linalg.norm(theta * scale)
    assert error < 0.25
    assert names <= set(found.couplings)
    np.testing.assert_array_equal(found.scaled, found.scaled.T)
    assert not np.diagonal(found.scaled).any()
    assert ((found.se > 0) | (found.scaled == 0)).all()


def test_without_coupling_the_family_wise_error_holds():
    """Each of the two families, pooled and by block, is wrong in at most 5% of worlds."""
    wrong = [bool(fit_blocks(rows(s, planted({}), 150), betas(s), SECTORS).couplings)
             for s in range(150)]  # fmt: skip
    assert np.mean(wrong) < 0.1 + 2 * np.sqrt(0.09 / 150)
    moved = []
    for seed in range(100):
        moves = positive(seed, N)
        e = rows(seed, planted({}), 150)
        moved.append(bool(fit_kyle(e, kyle(e.gram / 150, moves)).couplings))
    assert np.mean(moved) < 0.05 + 3 * np.sqrt(0.05 / 100)


def test_a_block_fit_is_least_squares_on_its_groups():
    """All groups clear: the estimate is the minimum of the error over one number a group."""
    theta = planted({("A", "A"): 0.6, ("B", "B"): 0.3, ("C", "C"): -0.4, ("B", "C"): 0.5}, 0.2)
    e, beta = rows(5, theta, T=4000, noise=1.0), betas(5)
    found = fit_blocks(e, beta, SECTORS)
    scale = np.sqrt(np.outer(beta, beta))
    best = template.loss(e, found.scaled)
    assert best < template.loss(e, np.zeros((N, N)))
    for a, b in (("A", "A"), ("B", "B"), ("B", "C"), ("A", "B")):
        bump = planted({(a, b): 1.0}) * scale
        push, step = template.quadratic(e, bump), 1e-3
        up, down = (template.loss(e, found.scaled + s * bump) for s in (step, -step))
        slope = (up - down) / (2 * step) / 2  # half the derivative: a score
        assert abs(slope) < 4.5 * np.sqrt(push)


def test_sectors_are_labels():
    theta, beta = planted({("A", "A"): 0.5, ("A", "C"): 0.4}), betas(7)
    e = rows(7, theta)
    renamed = tuple({"A": "z", "B": "y", "C": "x"}[s] for s in SECTORS)
    a, b = fit_blocks(e, beta, SECTORS), fit_blocks(e, beta, renamed)
    np.testing.assert_allclose(a.scaled, b.scaled, rtol=1e-7, atol=1e-9)
    back = {"z": "A", "y": "B", "x": "C"}
    named = {
        "|".join(sorted(back.get(part, part) for part in name.split("|"))): value
        for name, value in b.couplings.items()
    }
    assert named == pytest.approx(a.couplings, rel=1e-6)


def test_one_name_a_sector_and_one_name_at_all():
    e, beta = rows(8, planted({}, 0.3)), betas(8)
    found = fit_blocks(e, beta, [f"s{i}" for i in range(N)])
    assert np.isfinite(found.scaled).all() and np.isfinite(found.se).all()
    alone = Equations(e.gram[:1, :1], e.basis[:1, :1], e.xy[:1, :1], e.weight[:1])
    assert not fit_blocks(alone, beta[:1], ("A",)).couplings
    assert not fit_kyle(alone, np.ones((1, 1))).couplings


@pytest.mark.parametrize("seed", range(5))
def test_kyles_matrix_makes_the_moves_of_the_flows(seed):
    """``Lambda flow Lambda = moves``, symmetric and positive: there is one such matrix."""
    flow, moves = positive(seed), positive(seed + 50)
    L = kyle(flow, moves)
    np.testing.assert_allclose(L @ flow @ L, moves, rtol=1e-3, atol=1e-3 * np.abs(moves).max())
    np.testing.assert_array_equal(L, L.T)  # a path on pairs refuses any other template
    assert np.linalg.eigvalsh(L)[0] > 0
    np.testing.assert_allclose(kyle(4 * flow, moves), L / 2, rtol=1e-3, atol=1e-3)
    order = np.random.default_rng(seed).permutation(6)
    square = np.ix_(order, order)
    np.testing.assert_allclose(kyle(flow[square], moves[square]), L[square], atol=1e-6)


def test_kyles_matrix_of_flows_that_go_together_is_finite():
    flow = np.ones((4, 4))
    L = kyle(flow, positive(1, 4))
    assert np.isfinite(L).all() and np.linalg.eigvalsh(L)[0] > -1e-6 * np.abs(L).max()
    assert np.isfinite(kyle(np.zeros((3, 3)), np.zeros((3, 3)))).all()


def test_a_kyle_world_gives_its_factor_back():
    flow, moves = positive(3, N), positive(4, N)
    shape = kyle(flow, moves)
    np.fill_diagonal(shape, 0.0)
    e = drawn(3, 0.7 * shape, np.ones((N, N)), T=2000, noise=2.0)
    found = fit_kyle(e, shape)
    z = (found.couplings["kyle"] - 0.7) * np.sqrt(template.quadratic(e, shape))
    assert abs(z) < 4
    np.testing.assert_allclose(found.scaled, found.couplings["kyle"] * shape)


def test_what_another_regime_lends_comes_back_in_its_own_size():
    lent = planted({("A", "A"): 0.4, ("B", "C"): 0.3})
    error = 0.1 * np.ones_like(lent)
    e = drawn(5, 1.6 * lent, np.ones((N, N)), T=2000, noise=2.0)
    found = fit_lent(e, lent, error)
    factor = found.couplings["lent"]
    assert abs(factor - 1.6) * np.sqrt(template.quadratic(e, lent)) < 4
    np.testing.assert_allclose(found.scaled, factor * lent)
    np.testing.assert_allclose(found.spread, factor * np.hypot(LENT_SPREAD * lent, error))


def test_nothing_is_lent_to_a_regime_without_couplings():
    lent = planted({("A", "A"): 0.4, ("B", "C"): 0.3})
    taken = 0
    for seed in range(40):
        e = drawn(seed, np.zeros((N, N)), np.ones((N, N)), T=400, noise=2.0)
        taken += bool(fit_lent(e, lent, np.zeros((N, N))).couplings)
    assert taken <= 7  # of one in twenty; more has a probability of 0.1%


def test_least_squares_leaves_inactive_coordinates_at_zero():
    H, b = positive(2), np.arange(1.0, 7)
    active = np.array([True, False, True, True, False, True])
    x, se = template.least_squares(H, b, active)
    part = np.ix_(active, active)
    np.testing.assert_allclose(x[active], np.linalg.solve(H[part], b[active]), rtol=1e-5)
    np.testing.assert_allclose(se[active], np.sqrt(np.diagonal(np.linalg.inv(H[part]))), rtol=1e-5)
    assert not x[~active].any() and not se[~active].any()


def test_a_common_couplings_error_knows_that_rows_share_their_noise():
    """Scores of no coupling at all, over worlds: their spread is one by the error that knows."""
    beta, plain, known = np.full(12, 3000.0), [], []
    shape = 3000.0 * (1 - np.eye(12))
    for seed in range(60):
        panel, _ = draw(seed, T=4 * BUCKETS, n=12, active=1.0, coupling=0.0, common=0.6)
        market = np.random.default_rng((seed, 9)).normal(0, 5e-4, (len(panel.ts), 1))
        move = panel.move + market * beta
        panel = replace(panel, q=panel.q + market, move=move)
        seen = summed([day["normal"] for _, day in history(panel, "linear")], panel, None)
        e = seen.equations
        score = float((e.weight[:, None] * shape * e.xy).sum())
        z = score / np.sqrt(template.quadratic(e, shape))
        plain.append(z)
        known.append(z / np.sqrt(template.overdispersion(e, shape, seen.factors)))
    assert np.std(plain) > 1.5
    assert 0.7 < np.std(known) < 1.3


def test_products_of_group_couplings_are_those_of_the_whole_matrix():
    rng = np.random.default_rng(5)
    grouped = template.Grouped(rng.uniform(0.5, 2, N), np.array([ord(s) - 65 for s in SECTORS]))
    dense, other = grouped.dense(), rng.normal(size=(N, N))
    assert not np.diagonal(dense).any() and not dense[0, -1]
    np.testing.assert_allclose(grouped @ other, dense @ other, atol=1e-12)
    e, factors = rows(0, np.zeros((N, N))), np.corrcoef(rng.normal(size=(N, 40)))
    np.testing.assert_allclose(
        template.overdispersion(e, grouped, factors), template.overdispersion(e, dense, factors)
    )
