"""One slope, two errors: held against least squares and scipy's t."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from crossimpact.slope import Slope, between_days, through_origin


@given(st.integers(0, 1000), st.integers(5, 60))
def test_slopes_are_least_squares(seed, n):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(3, 1, n), rng.normal(size=n)
    plain = np.linalg.lstsq(x[:, None], y, rcond=None)[0][0]
    date = np.repeat("2026-03-02", n)
    days = between_days(x**2, x * y, date)
    assert through_origin(x, y).value == pytest.approx(plain, rel=1e-9)
    assert days is not None and days.value == through_origin(x, y).value


@given(st.integers(0, 1000), st.integers(5, 60))
def test_the_sandwich_error_is_the_textbook_matrix(seed, n):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=n), rng.normal(size=n)
    bread = 1 / (x @ x)
    e = y - x * (bread * (x @ y))
    assert through_origin(x, y).se == pytest.approx(bread * np.sqrt(x**2 @ e**2), rel=1e-8)


@given(st.floats(-3, 3), st.floats(0.01, 2), st.floats(1, 50))
def test_p_values_and_bounds_are_students(value, se, df):
    slope = Slope(value, se, df, 10)
    assert slope.p_below(0.5) == pytest.approx(t.cdf((value - 0.5) / se, df), rel=1e-12)
    assert slope.upper(0.99) == pytest.approx(value + se * t.ppf(0.99, df), rel=1e-9, abs=1e-9)
    assert slope.interval() == pytest.approx(t.interval(0.95, df, value, se), rel=1e-9, abs=1e-9)
    assert 0 <= slope.p_outside(1, 1) <= slope.p_outside(0.9, 1.1) <= 1
