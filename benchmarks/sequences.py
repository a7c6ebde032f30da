"""Sequences of orders: our solvers beside the same programs handed to cvxpy, in one run.

    .venv/bin/python -m benchmarks.sequences                       # everything
    .venv/bin/python -m benchmarks.sequences --steps 50 --large 3x5x20 --repeats 3    # does it run

cvxpy is no dependency of the project. Without it only our times are shown; to have both, run with
an interpreter that has it beside the locked packages, for instance

    .boot/bin/uv venv /tmp/cvx --python .venv/bin/python
    .boot/bin/uv pip install -p /tmp/cvx cvxpy numpy==2.4.6 scipy numba scikit-learn threadpoolctl
    PYTHONPATH=src /tmp/cvx/bin/python -m benchmarks.sequences

Every line is one problem on one grid: the seed example (volumes 1 and 3, exponential decay), the
same with 64 scenarios of the second order, and many orders of many coupled assets. `exact` is the
closed form where there is one, `grid` the certified program in state form. Two peers:

- `dense`: trades as variables, the kernel's matrix as one quadratic form, what one writes first.
  The two blocks at a shared boundary make it singular, so the form is a square root's norm.
- `state`: impact states and trades with their recursion, a sparse program, one small norm per cell.

Both go to Clarabel at its default tolerances; times include cvxpy's compilation, as a user waits
for both, and `solver` is what Clarabel says it took of the last one (wall). CPU seconds, medians of
`--repeats` runs after one that compiles, one BLAS thread on both sides. `apart` is the difference
of the costs over the cost; `kkt` is our residual. A peer is left out beyond so many trades.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array
from threadpoolctl import threadpool_limits

from crossimpact.model import Array
from crossimpact.policy.sequential import adapt, grid, solve, tree
from crossimpact.policy.sequential.kernel import Exponential
from crossimpact.policy.sequential.law import Scenarios
from crossimpact.policy.sequential.problem import Problem, hybrid, tthc
from crossimpact.policy.sequential.state_form import Grid, StateForm

try:
    import cvxpy as cp
except ImportError:
    cp = None

UNIT = Exponential(1.0, rho=1.0)  # type: ignore[arg-type]


def timed(work: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """What `work` gives, and the median of its CPU seconds after one run that compiles."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
    return result, statistics.median(seconds)


# -- peers ---------------------------------------------------------------------------------------


def dense(system: StateForm, program: Any) -> tuple[float, float]:
    """Cost and solver seconds of one quadratic form in all trades."""
    mesh, shape = system.grid, program.lower.shape
    kernel = Exponential(system.K, rho=system.rho)
    ends = mesh.starts, mesh.ends
    paths = ancestry(mesh)
    shared = paths @ np.diag(leaf_weights(system)) @ paths.T  # probability of sharing a scenario
    C = kernel.coupling(ends, ends) * shared[np.ix_(mesh.legs, mesh.legs)]
    values, vectors = np.linalg.eigh(C)
    size, axes = np.linalg.eigh(system.K)
    left = (vectors * np.sqrt(np.maximum(values, 0.0))).T
    right = axes * np.sqrt(np.maximum(size, 0.0))
    x = cp.Variable(shape)
    cost = 0.5 * cp.sum_squares(left @ x @ right)
    gained = cp.sum(cp.multiply(x, system.gradient(np.zeros(shape))))
    return settle(cost + gained, x, program, mesh, [])


def state(system: StateForm, program: Any) -> tuple[float, float]:
    """Cost and solver seconds of impact states and trades, a sparse program."""
    mesh, shape = system.grid, program.lower.shape
    x, y = cp.Variable(shape), cp.Variable(shape)  # y after each trade
    size, axes = np.linalg.eigh(system.K)
    root = axes * np.sqrt(np.maximum(size, 0.0))
    before = np.arange(len(mesh.starts)) - 1
    last = mesh.first[1:] - 1
    roots = mesh.parents >= 0
    before[mesh.first[:-1][roots]] = last[mesh.parents[roots]]
    a, b, q, c, d = system.coefficients.T
    came = before >= 0
    select = np.zeros((shape[0], shape[0]))
    select[came, before[came]] = 1.0
    earlier = csr_array(select) @ y
    rules = [y == diags_array(a) @ earlier + diags_array(b) @ x]
    cells = q > 0
    across = np.where(cells, c / np.where(cells, q, 1.0), 0.0)
    rest = np.maximum(d - across * c, 0.0)  # q (y + c/q x)^2 + (d - c^2/q) x^2
    one = diags_array(np.sqrt(q)) @ (earlier + diags_array(across) @ x) @ root
    two = diags_array(np.sqrt(rest)) @ x @ root
    end = diags_array(np.sqrt(system.terminal)) @ y[last] @ root
    cost = 0.5 * (cp.sum_squares(one) + cp.sum_squares(two) + cp.sum_squares(end))
    gained = cp.sum(cp.multiply(y[last] @ system.K, system.credit))
    return settle(cost - gained, x, program, mesh, rules)


def settle(cost: Any, x: Any, program: Any, mesh: Grid, rules: list[Any]) -> tuple[float, float]:
    """Add volumes and bounds, solve, and give the cost and the solver's own seconds."""
    rules += [
        cp.sum(x[mesh.first[j] : mesh.first[j + 1]], axis=0) == program.volumes[j]
        for j in range(len(mesh.orders))
    ]
    low, high = np.isfinite(program.lower), np.isfinite(program.upper)
    rules += [x[low] >= program.lower[low]] * bool(low.any())
    rules += [x[high] <= program.upper[high]] * bool(high.any())
    problem = cp.Problem(cp.Minimize(cost), rules)
    problem.solve(solver="CLARABEL")
    return float(problem.value), float(problem.solver_stats.solve_time)


def ancestry(mesh: Grid) -> Array:
    """Which legs lie on the way to which leaf, (L, leaves)."""
    leaves = np.setdiff1d(np.arange(len(mesh.orders)), mesh.parents)
    on = np.zeros((len(mesh.orders), len(leaves)))
    for column, leaf in enumerate(leaves):
        node = int(leaf)
        while node >= 0:
            on[node, column] = 1.0
            node = int(mesh.parents[node])
    return on


def leaf_weights(system: StateForm) -> Array:
    return system.weights[np.setdiff1d(np.arange(len(system.weights)), system.grid.parents)]


# -- problems ------------------------------------------------------------------------------------


def seed_example(steps: int) -> tuple[Problem, Callable[[], Any], Callable[[], Any], Any]:
    problem = tthc([0, 1, 2], [1, 3], UNIT)
    legs = np.arange(2)
    mesh = Grid.of(problem.times, legs, legs - 1, steps)
    credit = np.vstack((problem.c, np.zeros((1, 1))))
    posed = grid.pose(problem, mesh, problem.volumes, credit, np.ones(2))
    return problem, lambda: solve(problem), lambda: grid.solve(problem, steps), posed


def scenarios(count: int, steps: int) -> tuple[Problem, Callable[[], Any], Callable[[], Any], Any]:
    volumes = np.linspace(-4, 10, count)
    law = Scenarios(np.full(count, 1 / count), volumes)
    problem = tthc([0, 1, 2], [1, float(volumes.mean())], UNIT)
    parents = np.array([-1] + [0] * count)
    star = tree.Tree(
        problem.times,
        parents,
        np.concatenate(([1.0], law.probabilities)),
        np.concatenate(([1.0], volumes)),
        UNIT,
    )
    mesh = Grid.of(star.times, star.orders, star.parents, steps)
    widest = star.scenario(int(star.leaves[np.argmax(np.abs(volumes))]))
    credit = np.zeros_like(star.volumes)
    posed = grid.pose(widest, mesh, star.volumes, credit, star.weights)
    return widest, lambda: adapt(problem, law), lambda: tree.solve(star, steps), posed


def desk(orders: int, assets: int, steps: int) -> tuple[Problem, None, Callable[[], Any], Any]:
    """Coupled assets of a factor model, any signs, each part known at some time or other."""
    rng = np.random.default_rng(7)
    factors = rng.normal(size=(assets, max(assets // 4, 1)))
    K = 0.3 * factors @ factors.T / factors.shape[1] + np.diag(rng.uniform(0.5, 1.5, assets))
    parts = rng.normal(size=(orders, orders, assets)) * np.tri(orders)[:, :, None]
    times = np.concatenate(([0.0], np.cumsum(rng.uniform(0.5, 1.5, orders))))
    problem = hybrid(times, parts.sum(axis=1), Exponential((K + K.T) / 2, rho=2.0), parts)
    legs = np.arange(orders)
    mesh = Grid.of(problem.times, legs, legs - 1, steps)
    credit = np.vstack((problem.c, np.zeros((1, assets))))
    posed = grid.pose(problem, mesh, problem.volumes, credit, np.ones(orders))
    return problem, None, lambda: grid.solve(problem, steps), posed


def measure(name: str, made: Any, asked: argparse.Namespace) -> dict[str, Any]:
    """One line of the table."""
    problem, exact, ours, (system, program) = made
    found, seconds = timed(ours, asked.repeats)
    row: dict[str, Any] = {"problem": name, "trades": program.lower.size, "grid_s": seconds}
    row["kkt"] = found.residual
    if exact is not None:
        best, row["exact_s"] = timed(exact, max(asked.repeats, 20))
        row["grid_off"] = found.cost / best.cost - 1
    unit = np.abs(problem.volumes).max() ** 2 * np.abs(problem.kernel.K).max()
    for peer in (dense, state) if cp is not None else ():
        limit = asked.largest if peer is dense else asked.largest_state
        if program.lower.size > limit:
            continue
        (cost, solver), peer_s = timed(lambda: peer(system, program), asked.peer_repeats)  # noqa: B023
        label = peer.__name__
        row |= {
            f"{label}_s": peer_s,
            f"{label}_solver_s": solver,
            f"{label}_ratio": peer_s / seconds,
            f"{label}_apart": abs(cost * unit - found.cost) / abs(found.cost),
        }
    print(name, json.dumps(row), file=sys.stderr)
    return row


def problems(asked: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    for steps in map(int, asked.steps.split(",")):
        yield f"2 orders x {steps}", seed_example(steps)
    yield "2 orders, 64 scenarios x 24", scenarios(64, 24)
    for shape in asked.large.split(","):
        orders, assets, steps = map(int, shape.split("x"))
        yield f"{orders} orders x {assets} assets x {steps}", desk(orders, assets, steps)


def table(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, [":---"] + ["---:"] * (len(names) - 1)]
    for row in rows:
        cells = [row.get(name, "-") for name in names]
        lines.append([cell if isinstance(cell, str) else f"{cell:.3g}" for cell in cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", default="24,200,800", help="cells per order of the pair")
    parser.add_argument("--large", default="3x10x50,5x50x200", help="orders x assets x cells")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer-repeats", type=int, default=3)
    parser.add_argument("--largest", type=int, default=2000, help="trades given to `dense`")
    parser.add_argument("--largest-state", type=int, default=20_000, help="and to `state`")
    asked = parser.parse_args()
    if cp is None:
        print("cvxpy is not installed: ours only; --help says how to have both", file=sys.stderr)
    with threadpool_limits(1):
        rows = [measure(name, made, asked) for name, made in problems(asked)]
    print(table(rows))


if __name__ == "__main__":
    main()
