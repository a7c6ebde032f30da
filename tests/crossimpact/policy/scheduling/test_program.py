"""The convex program: its costs are the model's, its gradient exact, both engines one optimum."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.policy.scheduling import couplings, fast, reference
from crossimpact.policy.scheduling.certificate import CAPS, KKT, certificate
from crossimpact.policy.scheduling.layout import Layout
from crossimpact.policy.scheduling.program import Program, expected
from crossimpact.policy.state import Name, Parent, Risk
from tests.crossimpact.policy.scheduling.universes import model_of, posed, state_of


def random_flows(most: np.ndarray, seed: int = 0) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).uniform(0, 1, most.shape) * most)


@pytest.mark.parametrize("pairs", [0, 5])
def test_couplings_in_factors_are_the_scaled_matrix(pairs: int) -> None:
    model = model_of(20, pairs=pairs)
    parts = couplings.of(model)
    assert parts.factored and parts.pairs.nnz == 2 * pairs
    own = np.diag(np.diagonal(model.scaled))
    np.testing.assert_allclose(parts.times(np.eye(20)), model.scaled - own, atol=1e-9)


def test_couplings_without_factors_are_kept_dense() -> None:
    model = model_of(30, sectors=3)
    noise = np.random.default_rng(0).uniform(0.9, 1.1, (30, 30))
    model = replace(model, gamma=model.gamma * np.sqrt(noise * noise.T))
    parts = couplings.of(model)
    assert not parts.factored
    scaled = model.scaled - np.diag(np.diagonal(model.scaled))
    np.testing.assert_allclose(parts.times(np.eye(30)), (scaled + scaled.T) / 2, atol=1e-9)


def test_what_the_program_minimises_is_the_models_path_cost() -> None:
    model = model_of(12, pairs=3)
    program, caps = posed(model, state_of(model))
    u, nothing = random_flows(caps.most), np.zeros_like(caps.most)
    by_program = program.value(u) - program.value(nothing)
    by_model = (
        expected(program.desk, model, u, program).objective_usd
        - expected(program.desk, model, nothing, program).objective_usd
    )
    assert by_program == pytest.approx(by_model, rel=1e-10)


def test_the_gradient_is_the_objectives_slope() -> None:
    model = model_of(12, pairs=3)
    program, caps = posed(model, state_of(model))
    u, step = random_flows(caps.most), random_flows(caps.most, 1) - caps.most / 2
    slope = (program.value(u + step) - program.value(u - step)) / 2  # exact of a quadratic
    assert slope == pytest.approx(float((program.gradient(u) * step).sum()), rel=1e-9)


def test_the_gradient_is_the_models_marginal_cost_when_nothing_else_counts() -> None:
    """No alpha, no risk, nothing past or later: one line a name, all due within the horizon."""
    model = model_of(8)
    base = state_of(model, horizon=3, tight=False)
    parents = tuple(Parent(p.id, p.symbol, p.quantity, 15.0, alpha_bps=0.0) for p in base.parents)
    names = tuple(Name(n.symbol, n.mid, n.spread_bps, n.volume) for n in base.names)
    state = msgspec.structs.replace(
        base, parents=parents, names=names, risk=Risk(), leftover_bps=0.0
    )
    program, caps = posed(model, state)
    u = 0.3 * random_flows(caps.most)
    lines = program.desk.lines
    path = program.layout.path(u, lines.remaining)
    assert (path[:, 3] > 0).all()  # what is left trades in the interval after the deadline
    by_model = (
        lines.sign[:, None] * model.path_marginal_cost((lines.sign[:, None] * path).T / model.adv).T
    )
    np.testing.assert_allclose(
        program.gradient(u), by_model[:, :3] - by_model[:, 3:], rtol=1e-9, atol=1e-15
    )


def test_a_leftover_is_no_cheap_way_out_of_impact() -> None:
    """One line without alpha, due within the horizon: what it leaves pays as one more interval of
    its path, so that nothing is left beyond an even share of it."""
    model = model_of(6, sectors=1)
    base = state_of(model, horizon=4, tight=False)
    parents = tuple(Parent(p.id, p.symbol, abs(p.quantity), 20.0) for p in base.parents)
    names = tuple(Name(n.symbol, n.mid, n.spread_bps, 1e9) for n in base.names)
    state = msgspec.structs.replace(base, parents=parents, names=names, leftover_bps=0.0)
    program, caps = posed(model, msgspec.structs.replace(state, risk=Risk()))
    found = fast.solve(program, caps)
    assert certificate(program, caps, found.u, found.y).holds
    path = program.layout.path(found.u, program.desk.lines.remaining)
    share = path / path.sum(axis=1, keepdims=True)
    assert share[:, -1] == pytest.approx(share[:, 0], abs=1e-3)  # a decaying kernel is symmetric
    assert share[:, -1].max() < 0.35


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 14),
    horizon=st.integers(1, 5),
    pairs=st.integers(0, 3),
    seed=st.integers(0, 10**6),
    tight=st.booleans(),
    kernel=st.booleans(),
    aversion=st.sampled_from([0.0, 1e-8, 1e-6]),
    factors=st.booleans(),
)
def test_both_engines_find_one_certified_optimum(
    n: int, horizon: int, pairs: int, seed: int, tight: bool, kernel: bool, aversion: float,
    factors: bool,
) -> None:  # fmt: skip
    model = model_of(n, sectors=min(n, 3), pairs=pairs if n > 1 else 0, seed=seed, kernel=kernel)
    state = state_of(model, horizon, seed, tight, risk=Risk(aversion))
    program, caps = posed(model, state)
    if not factors:  # as couplings without them are
        parts = replace(program.layout.couplings, factored=False)
        program = Program(program.desk, Layout.of(program.desk, model, parts))
    quick = fast.solve(program, caps)
    proof = certificate(program, caps, quick.u, quick.y)
    assert quick.solved and proof.kkt < KKT and proof.caps <= CAPS
    slow = reference.solve(program, caps)
    scale = max(float(caps.most.max(initial=0.0)), 1e-300)
    assert np.abs(quick.u - slow.u).max(initial=0.0) <= 1e-6 * scale or program.value(
        quick.u
    ) == pytest.approx(program.value(slow.u), rel=1e-9)
    reach = abs(program.value(slow.u) - program.value(np.zeros_like(slow.u)))
    assert program.value(quick.u) - program.value(slow.u) <= 1e-6 * max(reach, 1e-6)


def test_a_certificate_refuses_what_is_not_optimal() -> None:
    model = model_of(10)
    program, caps = posed(model, state_of(model))
    found = fast.solve(program, caps)
    assert certificate(program, caps, found.u, found.y).holds
    assert not certificate(program, caps, 0.9 * found.u, found.y).holds
    assert not certificate(program, caps, 1.001 * np.maximum(found.u, 1), found.y).holds
    assert not certificate(program, caps, np.full_like(found.u, np.nan), found.y).holds
    assert not certificate(program, caps, found.u, found.y + 1e-3).holds


def test_the_price_of_a_cap_is_what_one_more_dollar_of_it_saves() -> None:
    model = model_of(12)
    state = state_of(model, horizon=1)
    names = tuple(msgspec.structs.replace(name, working=0.0) for name in state.names)
    state = msgspec.structs.replace(state, names=names)
    program, caps = posed(model, state)
    found = fast.solve(program, caps)
    risk = next(k for k, row in enumerate(caps.rows) if row.cap == "risk")
    assert found.y[risk] > 1e-4
    more = msgspec.structs.replace(
        state, caps=msgspec.structs.replace(state.caps, risk_usd=state.caps.risk_usd * 1.001)
    )
    wider, room = posed(model, more)
    saved = program.value(found.u) - wider.value(fast.solve(wider, room).u)
    assert saved == pytest.approx(found.y[risk] * state.caps.risk_usd * 0.001, rel=1e-2)
