"""Random problems for properties."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from crossimpact.policy.sequential.kernel import Exponential
from crossimpact.policy.sequential.problem import Problem, hybrid, tthc

volumes = st.floats(0.01, 10).flatmap(lambda v: st.sampled_from([v, -v]))
durations = st.floats(0.05, 5)


@st.composite
def pairs(draw: st.DrawFn) -> Problem:
    """Two monotone orders of one asset, part of the second amended."""
    first, second, amend = draw(volumes), draw(volumes), draw(st.floats(-5, 5))
    times = np.cumsum([0.0, draw(durations), draw(durations)])
    kernel = Exponential(draw(st.floats(0.1, 10)), rho=draw(st.floats(0.1, 4)))
    return tthc(times, [first, second], kernel, amend=amend)


@st.composite
def sequences(draw: st.DrawFn, monotone: bool = False) -> Problem:
    """Up to four orders of up to three assets, known bit by bit."""
    n, m = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    parts = rng.normal(size=(n, n, m)) * np.tril(np.ones((n, n)))[:, :, None]
    root = rng.normal(size=(m, m))
    kernel = Exponential(root @ root.T + 0.1 * np.eye(m), rho=rng.uniform(0.1, 3))
    times = np.cumsum(rng.uniform(0.1, 2, n + 1))
    return hybrid(times, parts.sum(axis=1), kernel, parts, monotone=monotone)
