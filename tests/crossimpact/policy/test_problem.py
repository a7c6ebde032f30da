"""A problem that cannot be posed is refused with the number and its limit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crossimpact.errors import ProblemError
from crossimpact.policy.sequential.kernel import Exponential
from crossimpact.policy.sequential.limits import Limits
from crossimpact.policy.sequential.problem import (
    Problem,
    at_arrival,
    at_start,
    hybrid,
    stsh,
    tthc,
    ttsc,
)

KERNEL = Exponential(1.0, rho=1.0)


@pytest.mark.parametrize(
    ("times", "volumes", "options", "message"),
    [
        ([0, 1, 1], [1, 3], {}, "order 1 runs from 1 to 1, a horizon of 0, must be > 0"),
        ([0, 2, 1], [1, 3], {}, "order 1 runs from 2 to 1, a horizon of -1, must be > 0.*overlap"),
        ([0, 1], [1, 3], {}, "2 times for 2 orders"),
        ([0, 1, np.inf], [1, 3], {}, r"times\[2\] is inf, must be a finite number"),
        ([0, 1, 2], [1, np.nan], {}, r"volumes\[1\] is nan, must be a finite number"),
        ([0, 1, 2], [1, "x"], {}, "volumes is not an array of numbers"),
        ([0, 1, 2], [1, True], {}, "volumes holds text or truth values"),
        ([0, 1, 2], [[1, 2], [3, 4]], {}, "volumes of 2 assets, a kernel of 1"),
        ([0, 1, 2], [], {}, "volumes have shape"),
        ([0, 1, 2], [1, 3], {"limits": Limits(block_cap=-1.0)}, "block_cap is -1, must be > 0"),
        ([0, 1, 2], [1, 3], {"limits": Limits(spread=-0.1)}, "spread is -0.1, must be >= 0"),
        ([0, 1, 2], [1, 3], {"limits": Limits(max_rate=[[1, 2], [1, 2]])}, "max_rate has shape"),
        (
            [0, 1, 2],
            [1, 3],
            {"limits": Limits(no_blocks=True, max_rate=2.0)},
            "order 1 of asset 0 has volume 3, its caps leave room for 2",
        ),
        (
            [0, 1, 2],
            [1, -3],
            {"limits": Limits(block_cap=0.5, max_rate=1.5)},
            "order 1 of asset 0 has volume 3, its caps leave room for 2.5",
        ),
    ],
)
def test_bad_input_is_named(
    times: list[float], volumes: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProblemError, match=message):
        ttsc(times, volumes, KERNEL, **options)


@pytest.mark.parametrize(
    ("benchmark", "message"),
    [
        (
            [[1, 0], [1, 1]],
            r"row 1 of benchmark sums to 2 for asset 0, its volume is 3, apart by 1",
        ),
        (
            [[0, 1], [0, 3]],
            r"benchmark\[0\]\[1\] of asset 0 is 1, must be 0: order 0 starts before",
        ),
        ([[1, 0]], r"benchmark has shape \(1, 2, 1\), must be \(2, 2, 1\)"),
        ([[1, 0], [np.nan, 1]], r"benchmark\[1\]\[0\]\[0\] is nan|benchmark\[1\]\[0\] is nan"),
    ],
)
def test_bad_benchmarks_are_named(benchmark: Any, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        hybrid([0, 1, 2], [1, 3], KERNEL, benchmark)


def test_what_is_struck_where() -> None:
    parts = np.array([[1.0, 0, 0], [2, 3, 0], [4, 5, 6]])
    problem = hybrid([0, 1, 2, 3], parts.sum(axis=1), KERNEL, parts)
    assert problem.c.tolist() == [[8], [6]]
    same = ttsc([0, 1, 2, 3], parts.sum(axis=1), KERNEL, parts=parts)
    assert same.c.tolist() == [[5], [15]]
    assert not tthc([0, 1, 2, 3], parts.sum(axis=1), KERNEL).c.any()
    assert tthc([0, 1, 2], [1, 3], KERNEL, amend=-2).c.tolist() == [[-2]]


def test_named_objectives_ask_for_their_number_of_orders() -> None:
    with pytest.raises(ProblemError, match="one order, not 2"):
        stsh([0, 1, 2], [1, 3], KERNEL)
    with pytest.raises(ProblemError, match="amend is for two orders, not 1"):
        tthc([0, 1], [1], KERNEL, amend=1.0)


def test_a_revision_is_struck_when_the_last_order_starts() -> None:
    parts = at_arrival(np.array([[1.0], [2.0]]))
    problem = hybrid([0, 1, 2], [1, 2], KERNEL, parts)
    assert problem.c.tolist() == [[2]]  # cached before the revision
    (revised,) = problem.revised([[5.0]])
    assert revised.c.tolist() == [[5]] and revised.volumes.tolist() == [[1], [5]]
    assert problem.volumes.tolist() == [[1], [2]]
    fresh = Problem(revised.times, revised.volumes, KERNEL, revised.benchmark, revised.parts)
    assert fresh.c.tolist() == revised.c.tolist()
    capped = hybrid([0, 1, 2], [1, 2], KERNEL, parts, limits=Limits(block_cap=1.0, max_rate=1.0))
    with pytest.raises(ProblemError, match="leave room for 3"):
        capped.revised([5.0])


def test_arrays_cannot_be_changed() -> None:
    problem = tthc([0, 1, 2], [1, 3], KERNEL)
    for value in (problem.times, problem.volumes, problem.benchmark, problem.kernel.K):
        with pytest.raises(ValueError, match="read-only"):
            value[...] = 0
    assert at_start(problem.volumes).sum() == 4
