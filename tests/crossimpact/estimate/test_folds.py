"""A window's equations and its folds': one pass says what separate passes would."""

from __future__ import annotations

import numpy as np
import pytest

from crossimpact.estimate.equations import summed, without_market
from crossimpact.estimate.folds import folded, without_each
from crossimpact.estimate.weighted_rows import history, total

from .desk import BUCKETS, draw


def test_whole_and_folds_are_the_sums_of_their_days():
    panel, _ = draw(2, T=7 * BUCKETS)
    days = [day["normal"] for _, day in history(panel, "linear")]
    market = np.sqrt(panel.adv)
    for weights in (None, market):
        found = folded(days, panel, None, 3).without_market(weights)
        held_out = [days[:3], days[3:5], days[5:]]
        wanted = [(summed(days, panel, None, weights), found.whole)]
        for k, (train, test) in enumerate(found.folds):
            rest = [day for part in held_out[:k] + held_out[k + 1 :] for day in part]
            wanted.append((summed(rest, panel, None, weights), train))
            wanted.append((summed(held_out[k], panel, None, weights), test))
        assert len(wanted) == 7
        for one, other in wanted:
            assert one.buckets == other.buckets
            for name in ("gram", "xy", "basis"):
                a, b = getattr(one.equations, name), getattr(other.equations, name)
                a, b = (np.einsum("ijr,ijr->ij", x, x) if x.ndim == 3 else x for x in (a, b))
                np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8 * np.abs(b).max())


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_sum_of_all_parts_but_one_leaves_out_that_one(count):
    panel, _ = draw(2, T=count * BUCKETS)
    parts = [day["normal"].moments() for _, day in history(panel, "linear")]
    rests = list(without_each(parts))
    assert len(rests) == count
    for part, rest in zip(parts, rests, strict=True):
        assert (part + rest).buckets == panel.q.shape[0]
        for name, value in (part + rest).arrays().items():
            whole = total(parts).arrays()[name]
            np.testing.assert_allclose(value, whole, rtol=1e-12, atol=1e-12 * np.abs(whole).max())


def test_a_single_day_holds_nothing_out():
    panel, _ = draw(2, T=BUCKETS)
    found = folded([day["normal"] for _, day in history(panel, "linear")], panel, None)
    assert not found.folds and found.whole.buckets == BUCKETS
    assert without_market(found.whole, panel.adv).equations.basis.shape[2] == 5
