"""Rows a day is stored as: every sum that a window asks for is that of the raw products."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.errors import EstimationError
from crossimpact.estimate.equations import summed
from crossimpact.estimate.folds import folded
from crossimpact.estimate.gram import Moments
from crossimpact.estimate.refit import fit_regime
from crossimpact.estimate.weighted_rows import (
    WeightedRows,
    answering,
    blocks,
    day_rows,
    held,
    history,
    stacked,
    total,
)
from crossimpact.panel import Panel

from .desk import BUCKETS, draw

RTOL = 1e-11


def wide(days: int, n: int = 40, buckets: int = 12) -> Panel:
    """A desk of more names than buckets in a block of two days."""
    panel, _ = draw(2, T=days * BUCKETS, n=n)
    since = np.concatenate([np.arange((panel.date == d).sum()) for d in np.unique(panel.date)])
    return panel.where(since < buckets)


def assert_same(one: Moments, other: Moments) -> None:
    assert (one.symbols, one.buckets) == (other.symbols, other.buckets)
    for name, array in one.arrays().items():
        wanted = other.arrays()[name]
        atol = RTOL * np.abs(wanted).max(initial=0.0)
        np.testing.assert_allclose(array, wanted, rtol=RTOL, atol=atol, err_msg=name)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.3, 1.0))
def test_sums_are_the_products_of_what_the_rows_hold(seed, ratio):
    rows = day_rows(draw(seed, T=BUCKETS, n=5)[0], "linear")["normal"]
    found = rows.paid(ratio).moments()
    executed = np.isfinite(rows.excess)
    move = ratio * rows.move
    excess = np.where(executed, rows.excess + rows.move - move, 0.0)
    sign = np.sign(rows.own) * rows.root[:, None]
    own = np.stack((rows.own, sign, rows.sector, rows.factor), axis=2)
    for i in range(5):
        for j in range(5):
            f = rows.own[:, j]
            np.testing.assert_allclose(found.ff[i, j], rows.own[:, i] @ f, atol=1e-12)
            np.testing.assert_allclose(found.fm[i, j], move[:, i] @ f, atol=1e-10)
            np.testing.assert_allclose(found.fd[i, j], excess[:, i] @ f, atol=1e-10)
            np.testing.assert_allclose(found.fb[i, j], own[:, i].T @ f, atol=1e-12)
        np.testing.assert_allclose(found.bb[i], own[:, i].T @ own[:, i], atol=1e-12)
        np.testing.assert_allclose(found.md[i], move[:, i] @ excess[:, i], atol=1e-8)


def test_rows_under_one_another_have_the_sum_of_their_days_whoever_was_listed():
    days = [day["normal"] for _, day in history(wide(4, n=6), "linear")]
    assert_same(stacked(days).moments(), total(day.moments() for day in days))
    late = days[0].on(days[0].symbols[2:])
    assert late.on(days[0].symbols).own[:, 2:].tolist() == days[0].own[:, 2:].tolist()
    mixed = stacked([late, *days[1:]])
    assert mixed.symbols == days[0].symbols
    assert_same(mixed.moments(), total([late.moments(), *(day.moments() for day in days[1:])]))


def test_a_block_keeps_its_rows_while_they_are_fewer_than_names():
    few, many = wide(6), wide(6, n=5)
    for panel, kept in ((few, WeightedRows), (many, Moments)):
        dates = np.unique(panel.date)
        found = blocks(history(panel, "linear"), [dates[1], dates[3], dates[5]], ["normal"])
        assert all(isinstance(block["normal"], kept) for block in found)
        days = [day["normal"] for _, day in history(panel, "linear")]
        assert_same(total(b["normal"] for b in found), total(day.moments() for day in days))
        parts = [total([b["normal"]]) for b in found]
        assert_same(total([found[0]["normal"], *parts[1:]]), total(parts))


def test_equations_and_folds_do_not_know_rows_from_sums():
    panel = wide(8)
    days = [day["normal"] for _, day in history(panel, "linear")]
    sums = [day.moments() for day in days]
    pairs = [(summed(days, panel, None), summed(sums, panel, None))]
    pairs.append((folded(days, panel, None, 4).whole, pairs[0][1]))
    by_fold = (folded(of, panel, None, 4).folds for of in (days, sums))
    for one, other in zip(*by_fold, strict=True):
        pairs += list(zip(one, other, strict=True))
    for one, other in pairs:
        for name in ("gram", "xy", "weight"):
            a, b = getattr(one.equations, name), getattr(other.equations, name)
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8 * np.abs(b).max())


@pytest.mark.parametrize("transform", ["linear", "sqrt"])
def test_a_placebo_of_stored_rows_is_the_product_with_the_late_flow(transform):
    """Of every block, kept as rows or summed; the same responses, and no second pilot."""
    panel = wide(4)
    late = panel.shifted_q()
    shaped = late if transform == "linear" else np.sign(late) * np.sqrt(np.abs(late))
    days = list(history(panel, transform))
    fake = [day["normal"] for _, day in answering(days, panel, late, transform)]
    assert not fake[0].moments().ff.any()
    for (date, day), found in zip(days, fake, strict=True):
        rows = day["normal"]
        flow = shaped[panel.date == date] * rows.root[:, None]
        made = found.moments()
        np.testing.assert_allclose(made.ff, flow.T @ flow, atol=1e-12)
        np.testing.assert_allclose(made.fm, rows.move.T @ flow, atol=1e-9)
        np.testing.assert_allclose(made.fb[:, :, 0], rows.own.T @ flow, atol=1e-12)
        np.testing.assert_array_equal(made.bb, rows.moments().bb)
    assert_same(stacked(fake).moments(), total(rows.moments() for rows in fake))


def test_rows_of_other_buckets_than_the_panels_are_refused():
    panel = wide(3)
    days = list(history(panel, "linear"))
    shorter = panel.where(np.arange(len(panel.ts)) != 5)
    with pytest.raises(EstimationError, match="the rows"):
        list(answering(days, shorter, shorter.shifted_q(), "linear"))


def test_a_panels_rows_are_made_once_a_transform():
    panel = wide(2)
    rows = held(panel)
    assert rows("linear") is rows("linear") and rows("sqrt") is not rows("linear")


def test_a_fit_with_fewer_buckets_than_names_is_the_same_from_sums(monkeypatch):
    """A window of rows ships the matrix of a window of sums."""
    panel = wide(10, n=14, buckets=10)
    one = fit_regime(panel, "normal")
    assert one.rung != "fixed_pov"
    monkeypatch.setattr(
        "crossimpact.estimate.weighted_rows._smaller",
        lambda days: total(day.moments() for day in days),
    )
    other = fit_regime(panel, "normal")
    assert one.rung == other.rung
    np.testing.assert_array_equal(one.model.gamma != 0, other.model.gamma != 0)
    size = np.abs(other.model.gamma).max(initial=1e-300)
    np.testing.assert_allclose(one.model.gamma, other.model.gamma, atol=1e-6 * size)
