"""The shared Gram: what adds up, what a dense fit to the raw data says, what an outlier can do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossimpact.estimate import shrinkage, weighted_rows
from crossimpact.estimate.equations import (
    MIN_COVERAGE,
    Design,
    Equations,
    conditional,
    summed,
)
from crossimpact.estimate.gram import Moments
from crossimpact.estimate.pilot import CLIP, fit_pilot
from crossimpact.estimate.weighted_rows import WeightedRows, answering, blocks, history, total
from crossimpact.model import Array
from crossimpact.panel import Panel

from .desk import BUCKETS, draw, permuted, with_cells


def rows_of(panel: Panel, transform="linear", flows: Array | None = None) -> list[WeightedRows]:
    days = history(panel, transform)
    if flows is not None:
        days = answering(days, panel, flows, transform)
    return [day["normal"] for _, day in days]


def days_of(panel: Panel, transform="linear", flows: Array | None = None) -> list[Moments]:
    return [rows.moments() for rows in rows_of(panel, transform, flows)]


def design_of(panel: Panel) -> Design:
    return summed(days_of(panel), panel, None)


def assert_same(a: Moments, b: Moments, rtol: float = 1e-12) -> None:
    assert (a.symbols, a.buckets) == (b.symbols, b.buckets)
    for name, array in a.arrays().items():
        other = b.arrays()[name]
        np.testing.assert_allclose(array, other, rtol=rtol, atol=rtol * np.abs(other).max())


def row_fits(e: Equations) -> Array:
    """Least squares of each row by itself, (n, n)."""
    n = len(e.gram)
    M = np.zeros((n, n))
    for i in range(n):
        others = np.delete(np.arange(n), i)
        G = e.gram - e.basis[i] @ e.basis[i].T
        M[i, others] = np.linalg.solve(G[np.ix_(others, others)], e.xy[i, others])
    return M


def pair_fit(e: Equations) -> Array:
    """Least squares of all pairs jointly, (n, n)."""
    n = len(e.gram)
    first, second = np.triu_indices(n, 1)
    curvature = shrinkage.joint_curvature(e, np.ones((n, n)), first, second)
    force = e.weight[:, None] * e.xy
    M = np.zeros((n, n))
    M[first, second] = np.linalg.solve(curvature, (force + force.T)[first, second])
    return M + M.T


# -- sums --------------------------------------------------------------------------------------


def test_days_add_up_exactly_in_any_order():
    days = days_of(draw(T=4 * BUCKETS)[0])
    whole = total(days)
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(
            array, sum((day.arrays()[name] for day in days[1:]), days[0].arrays()[name])
        )
    assert whole.buckets == 4 * BUCKETS
    assert_same(total(days[::-1]), whole)


def test_parts_under_one_pilot_add_up_to_the_moments_of_their_union():
    panel, _ = draw(T=BUCKETS, confounded=True)
    B = np.stack([panel.q, np.sign(panel.q), panel.sector_flow, panel.factor_flow], axis=2)
    pilot = fit_pilot(panel, B)
    early = np.arange(BUCKETS) < 30
    parts = [
        weighted_rows._weighted(panel.where(rows), B[rows], pilot.of(rows)).moments()
        for rows in (early, ~early)
    ]
    whole = weighted_rows._weighted(panel, B, pilot).moments()
    for name in ("seen", "ff", "rr", "fb", "bb", "fm", "bm", "mm"):
        summed = getattr(parts[0], name) + getattr(parts[1], name)
        np.testing.assert_allclose(summed, getattr(whole, name), rtol=1e-9, atol=1e-12)


def test_names_may_be_listed_in_any_order_and_be_absent_on_a_day():
    panel, _ = draw(T=2 * BUCKETS)
    one, other = days_of(panel)
    order = np.array([3, 0, 7, 1, 6, 2, 5, 4])
    first, second = days_of(permuted(panel, order))
    assert_same((first + second).on(panel.symbols), one + other)
    names = panel.symbols[2:5]
    some = one.on(names)
    wide = some.on(panel.symbols)
    np.testing.assert_array_equal(wide.ff[2:5, 2:5], one.ff[2:5, 2:5])
    assert not wide.ff[:2].any() and not wide.bm[5:].any()
    assert (wide.seen[0, :2] == 0).all() and (wide.seen[1] == one.seen[1].max()).all()
    assert_same((some + other).on(panel.symbols), wide + other)


def test_blocks_hold_every_day_once():
    panel, _ = draw(T=5 * BUCKETS)
    dates = np.unique(panel.date)
    found = blocks(history(panel, "linear"), [dates[1], dates[2]], ["normal"])
    assert [block["normal"].buckets for block in found] == [2 * BUCKETS, 3 * BUCKETS]
    assert_same(total(b["normal"] for b in found), total(days_of(panel)), 1e-9)


def test_square_root_moments_are_those_of_the_shaped_panel():
    """What a day stores knows no reference flow; it enters when the days are read."""
    panel, _ = draw(T=3 * BUCKETS, confounded=True)
    reference = np.random.default_rng(0).uniform(5e-4, 2e-3, panel.n)
    stored = summed(days_of(panel, "sqrt"), panel, reference).equations
    shaped = design_of(panel.shaped(reference)).equations
    for name in ("gram", "xy", "weight"):
        a, b = getattr(stored, name), getattr(shaped, name)
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-7 * np.abs(b).max())


def test_a_placebo_brings_the_others_flows_and_leaves_a_rows_own_terms():
    panel, _ = draw(T=2 * BUCKETS)
    late = panel.shifted_q()
    real, fake = days_of(panel)[1], days_of(panel, flows=late)[1]
    for name in ("bb", "bm", "mm", "rr", "seen"):
        np.testing.assert_array_equal(getattr(real, name), getattr(fake, name))
    np.testing.assert_array_equal(days_of(panel, flows=panel.q)[0].fm, days_of(panel)[0].fm)
    assert not days_of(panel, flows=late)[0].ff.any()


# -- equations ---------------------------------------------------------------------------------


def test_equations_are_those_of_a_dense_fit_with_own_terms_beside_the_flows():
    """Frisch-Waugh-Lovell on the weighted raw data, responses as the days' pilots leave them."""
    panel, _ = draw(T=3 * BUCKETS, confounded=True)
    panel = with_cells(panel, move=((40, 1), 900.0))
    found = design_of(panel)
    root, flows, moves, weights, nuisance = np.sqrt(panel.adv), [], [], [], []
    for date in np.unique(panel.date):
        day = panel.where(panel.date == date)
        B = np.stack([day.q, np.sign(day.q), day.sector_flow, day.factor_flow], axis=2)
        pilot = fit_pilot(day, B)
        flows.append(day.q * root)
        moves.append(pilot.move)
        weights.append(pilot.weight)
        nuisance.append(B)
    w = np.sqrt(np.concatenate(weights))[:, None]
    X, B = np.concatenate(flows) * w, np.concatenate(nuisance) * w[:, :, None]
    slipped = (panel.response - np.concatenate(moves)) * w
    assert np.nanmax(np.abs(np.concatenate(moves))) < 200
    M = row_fits(found.equations)
    for i in range(panel.n):
        d = np.nan_to_num(slipped[:, i])
        if i == 1:
            continue  # its fill at the outlier is clipped as well
        y = (np.concatenate(moves)[:, i] * w[:, 0] + found.share * d) * root[i]
        others = np.delete(np.arange(panel.n), i)
        columns = np.column_stack((X[:, others], B[:, i]))
        size = np.sqrt((columns**2).sum(axis=0))
        columns = columns[:, size > 0] / size[size > 0]
        dense = np.linalg.lstsq(columns, y, rcond=None)[0][: panel.n - 1] / size[: panel.n - 1]
        np.testing.assert_allclose(M[i, others], dense, rtol=1e-6, atol=1e-6 * np.abs(M).max())


def test_planted_couplings_come_back_within_the_weights_own_errors():
    panel, truth = draw(1, T=3000, confounded=True)
    e = design_of(panel).equations
    first, second = np.triu_indices(panel.n, 1)
    ones = np.ones((panel.n, panel.n))
    covariance = np.linalg.inv(shrinkage.joint_curvature(e, ones, first, second))
    z = (pair_fit(e) - truth["M"])[first, second] / np.sqrt(np.diagonal(covariance))
    assert np.abs(z).max() < 4 and 0.7 < np.sqrt((z**2).mean()) < 1.4


def test_permuted_names_permute_the_equations():
    panel, _ = draw(T=3 * BUCKETS, confounded=True)
    order = np.array([3, 0, 7, 1, 6, 2, 5, 4])
    one, other = design_of(panel), design_of(permuted(panel, order))
    square = np.ix_(order, order)
    assert abs(one.share - other.share) < 1e-9
    for a, b in (
        (one.equations.gram[square], other.equations.gram),
        (one.equations.xy[square], other.equations.xy),
        (one.equations.weight[order], other.equations.weight),
        (one.factors[square], other.factors),
    ):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8 * np.abs(a).max())


def test_a_far_response_weighs_no_more_than_so_many_ordinary_ones():
    panel, _ = draw(T=BUCKETS)
    at = int(np.argmax(np.abs(panel.q[:, 3])))
    clean = days_of(panel)[0]
    far = [
        days_of(with_cells(panel, move=((at, 0), v), s=((at, 0), np.nan)))[0]
        for v in (1000.0, 4900.0, -4900.0)
    ]
    sigma = np.sqrt(clean.mm[0] / clean.buckets)
    reach = 2 * CLIP * sigma * np.abs(panel.q[at])
    for dirty in far:
        assert (np.abs(dirty.fm[0] - clean.fm[0]) <= reach + 1e-12).all()
        np.testing.assert_allclose(dirty.fm[1:], clean.fm[1:], atol=0.05 * np.abs(clean.fm).max())
    np.testing.assert_allclose(far[0].fm[0], far[1].fm[0], atol=0.1 * reach.max())


def test_a_tick_is_not_far():
    """A price that stands still in most buckets keeps its moves as they are."""
    panel, _ = draw(T=BUCKETS)
    ticks = np.round(panel.move[:, 0] / 30.0) * 30.0
    bound = with_cells(panel, move=((slice(None), 0), ticks))
    assert 0.8 < np.mean(ticks == 0) < 1
    B = np.zeros((*panel.q.shape, 4))
    np.testing.assert_allclose(fit_pilot(bound, B).move[:, 0], ticks)


def test_a_wild_bucket_weighs_less_and_a_calm_one_no_more():
    panel, _ = draw(T=BUCKETS)
    wild = with_cells(panel, move=(20, 30 * panel.move[20]))
    B = np.zeros((*panel.q.shape, 4))
    weight = fit_pilot(wild, B).weight
    assert weight[20] < 0.1 and np.delete(weight, 20).min() > 0.8 and weight.max() <= 1


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_missing_mids_are_scaled_by_what_is_known(share):
    z = []
    for seed in range(4):
        panel, truth = draw(seed, T=2000, noise=5.0)
        gone = np.random.default_rng(seed).random(2000) < share
        full = design_of(panel).equations
        part = design_of(with_cells(panel, move=((gone, 0), np.nan), s=((gone, 0), np.nan)))
        known = 1 - gone.mean()
        assert abs(part.equations.weight[0] / full.weight[0] / known - 1) < 0.25
        np.testing.assert_allclose(part.equations.weight[1:], full.weight[1:], rtol=0.05)
        e = part.equations
        left = np.linalg.inv((e.gram - e.basis[0] @ e.basis[0].T)[1:, 1:])
        se = np.sqrt(np.diagonal(left) / e.weight[0])
        z.append((row_fits(e) - truth["M"])[0, 1:] / se)
    assert 0.6 < np.sqrt(np.mean(np.square(z))) < 1.4 and np.abs(np.mean(z)) < 0.6


def test_a_name_seldom_seen_or_never_moving_has_no_row():
    panel, _ = draw(T=600)
    gone = np.arange(600) % 100 >= 100 * MIN_COVERAGE - 2
    assert design_of(with_cells(panel, move=((gone, 2), np.nan))).equations.weight[2] == 0
    still = design_of(with_cells(panel, move=((slice(None), 2), 0.0))).equations
    assert still.weight[2] == 0 and (np.delete(still.weight, 2) > 0).all()


# -- noise -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mid", "fill", "share"), [(6.0, 3.0, 0.8), (3.0, 6.0, 0.2), (0.0, 5.0, 0)]
)
def test_the_share_of_slippage_is_the_mix_with_the_least_noise(mid, fill, share):
    """Mids ``P + u`` and fills ``P + v``: the best mix takes ``var u / (var u + var v)`` of v."""
    panel, _ = draw(T=2500, noise=8.0, active=0.9, fill=0.0)
    rng = np.random.default_rng(1)
    u, v = (sd * rng.normal(size=panel.q.shape) for sd in (mid, fill))
    panel = replace(panel, move=panel.move + u, s=panel.s + np.sign(panel.q) * v)
    assert abs(design_of(panel).share - share) < 0.05


def test_fills_that_say_nothing_new_have_no_share():
    """Slippage equal to the mid move but for alpha: what is left of it is rounding."""
    assert design_of(draw(T=600, fill=0.0)[0]).share == 0.0


def test_noise_factors_are_found_where_there_are_some():
    alone = design_of(draw(2, T=1500)[0]).factors
    together = design_of(draw(2, T=1500, common=0.6)[0]).factors
    off = ~np.eye(8, dtype=bool)
    assert np.abs(alone[off]).max() < 0.12
    assert together[off].min() > 0.4 and together[off].max() < 0.6
    for factors in (alone, together):
        np.testing.assert_array_equal(np.diagonal(factors), 1.0)
        assert np.linalg.eigvalsh(factors)[0] > 0


def test_taking_the_common_noise_off_brings_estimates_closer():
    before, after = [], []
    for seed in range(6):
        panel, truth = draw(seed, T=1200, common=0.7)
        found = design_of(panel)
        first = pair_fit(found.equations)
        left = shrinkage.row_gradients(found.equations, first)
        np.fill_diagonal(left, 0.0)
        second = pair_fit(conditional(found.equations, found.precision, left))
        before.append(np.linalg.norm(first - truth["M"]))
        after.append(np.linalg.norm(second - truth["M"]))
    assert np.mean(after) < 0.9 * np.mean(before)


def test_without_common_noise_the_equations_stay():
    found = design_of(draw(T=600)[0])
    flat = replace(found, noise=np.eye(8))
    same = conditional(flat.equations, flat.precision, np.random.default_rng(0).normal(size=(8, 8)))
    np.testing.assert_array_equal(same.xy, found.equations.xy)
    np.testing.assert_array_equal(same.weight, found.equations.weight)
