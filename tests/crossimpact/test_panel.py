"""What the regressions read of a panel: the least scale of prices that tick."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crossimpact.panel import tick_scale


def test_a_continuous_response_has_no_least_scale():
    response = np.random.default_rng(0).normal(0, 8.0, (500, 3))
    assert not tick_scale(response).any()
    assert not tick_scale(np.full((5, 2), np.nan)).any() and not tick_scale(np.zeros((5, 2))).any()


@given(st.floats(0.05, 0.95), st.floats(0.01, 100.0), st.floats(1e3, 1e12))
def test_a_tick_is_its_own_scale_and_an_outlier_no_tick(still, tick, wild):
    """In units of the tick: how often the price stands still."""
    moves = np.where(np.arange(1000) < 1000 * still, 0.0, tick)
    moves[::2] *= -1
    dirty = np.append(moves, [np.nan, *[wild] * 20])
    for response in (moves, np.append(moves, np.nan), dirty):
        share = (response == 0).sum() / np.isfinite(response).sum()
        np.testing.assert_allclose(tick_scale(response[:, None]), share * tick, rtol=1e-9)
