"""Plans: who answers, what is certified, what the rules change, and what bad input does."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.errors import ProblemError, UsageError
from crossimpact.policy import schedule
from crossimpact.policy.explain import explanation
from crossimpact.policy.plan import Plan, read_plan
from crossimpact.policy.schedule import Scheduler
from crossimpact.policy.scheduling import fast
from crossimpact.policy.scheduling.caution import cautious, reliability
from crossimpact.policy.scheduling.fast import Solution
from crossimpact.policy.scheduling.restraint import HELD
from crossimpact.policy.state import (
    Allowance,
    Caps,
    DeskState,
    Flow,
    GuardrailState,
    Name,
    Parent,
    PolicyName,
    Risk,
    read,
)
from crossimpact.release.admissible import check
from tests.crossimpact.policy.scheduling.universes import (
    AT,
    answer_of,
    model_of,
    state_of,
    with_name,
)
from tests.releases import release_of


def planned(model: Any, state: DeskState, **words: Any) -> Plan:
    return schedule.plan(answer_of(model), state, **words)


def assert_keeps_caps(plan: Plan, state: DeskState, model: Any) -> None:
    """The caps of the first interval, from the plan's own numbers alone."""
    names = {name.symbol: name for name in state.names}
    net: dict[str, float] = {}
    risk = 0.0
    sector = dict(zip(model.symbols, model.sectors, strict=True))
    for child in plan.children:
        name = names[child.symbol]
        volume = name.volume if isinstance(name.volume, float) else (name.volume or (0.0,))[0]
        room = max(state.caps.pov * volume - abs(name.working), 0.0)
        assert abs(child.quantity) <= room * (1 + 1e-9) + 1e-12
        flow = (child.quantity + name.working) * name.mid
        net[sector[child.symbol]] = net.get(sector[child.symbol], 0.0) + flow
        risk += (abs(child.quantity) + abs(name.working)) * name.mid * name.volatility_bps * 1e-4
    if isinstance(state.caps.sector_net_usd, float) and not plan.relaxed:
        assert max(map(abs, net.values())) <= state.caps.sector_net_usd * (1 + 1e-9)
    if state.caps.risk_usd is not None and not plan.relaxed:
        assert risk <= state.caps.risk_usd * (1 + 1e-9)
    for target in plan.targets:
        parent = next(p for p in state.parents if p.id == target.parent)
        path = np.array([parent.filled, *target.cumulative]) * np.sign(parent.quantity)
        assert (np.diff(path) >= -1e-9 * abs(parent.quantity)).all()
        assert path[-1] <= abs(parent.quantity) * (1 + 1e-9)


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(1, 12),
    horizon=st.integers(1, 4),
    seed=st.integers(0, 10**6),
    tight=st.booleans(),
    policy=st.sampled_from(["optimal", "ranked"]),
    guardrail=st.sampled_from(["green", "amber", "red"]),
    transform=st.sampled_from(["linear", "sqrt"]),
)
def test_every_plan_keeps_its_caps_and_direction(
    n: int, horizon: int, seed: int, tight: bool, policy: Any, guardrail: Any, transform: Any
) -> None:
    model = model_of(n, min(n, 3), seed=seed, transform=transform, reference=np.full(n, 1e-3))
    state = state_of(model, horizon, seed, tight, guardrail=guardrail)
    plan = planned(model, state, policy=policy)
    assert_keeps_caps(plan, state, model)
    expected = "optimal" if policy == "optimal" and transform == "linear" else "ranked"
    assert plan.answered == expected
    if expected == "optimal":
        assert plan.kkt_residual is not None and plan.kkt_residual < 1e-6
        assert plan.gap_usd is not None and plan.gap_usd > -1e-6
    assert read_plan(plan.to_json()) == plan


def test_ranked_gives_a_shared_cap_to_the_most_efficient_first() -> None:
    model = model_of(6, sectors=1, kernel=False)
    state = state_of(model, 1, tight=False)
    parents = tuple(
        Parent(f"p{i}", s, 1e4, 60.0, alpha_bps=5000.0 * (i + 1), alpha_half_life_min=5.0)
        for i, s in enumerate(model.symbols)
    )
    names = tuple(Name(s, 50.0, 1.0, 1e5) for s in model.symbols)
    capped = Caps(0.1, sector_net_usd=2.5e4 * 50.0)  # of 1e4 shares each: two and a half names
    state = msgspec.structs.replace(
        state, parents=parents, names=names, caps=capped, strong_coupling=None
    )
    plan = planned(model, state, policy="ranked")
    by_efficiency = sorted(plan.children, key=lambda child: -(child.efficiency or 0))
    shares = [round(child.quantity) for child in by_efficiency]
    assert shares == [10000, 10000, 5000, 0, 0, 0]


def test_marginal_cost_and_efficiency_are_the_models() -> None:
    model = model_of(5, kernel=True)
    state = state_of(model, 1, tight=False)
    plan = planned(model, state)
    pace = {}
    for parent, name in zip(state.parents, state.names, strict=True):
        used = min(abs(name.working), abs(parent.quantity)) if name.working else 0.0
        even = (abs(parent.quantity) - used) / np.ceil(parent.deadline_min / 5 - 1e-9)
        room = max(0.15 * float(name.volume or 0) - abs(name.working), 0.0)  # type: ignore[arg-type]
        flow = np.sign(parent.quantity) * min(even, room) + name.working
        pace[name.symbol] = flow * name.mid
    q = np.array([pace[s] for s in model.symbols]) / model.adv
    past = np.zeros(5)
    for i, name in enumerate(state.names):
        for flow in name.flow:
            left = float(model.kernel.value(flow.age_min)) * flow.quantity * name.mid
            past[i] += left / model.adv[i]
    assert model.kernel is not None
    carried = model.kernel.scale_self * model.beta * past
    carried += model.kernel.scale_cross * model.gamma @ past
    by_model = 1e4 * model.marginal_cost(q) + carried
    for child, parent, bps in zip(plan.children, state.parents, by_model, strict=True):
        assert child.marginal_bps == pytest.approx(np.sign(parent.quantity) * bps, rel=1e-9)


def test_a_plan_does_not_depend_on_what_was_planned_before() -> None:
    model, warm = model_of(70, pairs=5), Scheduler()
    for seed in (1, 2, 3):
        state = state_of(model, 2, seed)
        assert warm.plan(answer_of(model), state).to_json() == planned(model, state).to_json()


def moved(state: DeskState, seed: int) -> DeskState:
    """The desk some minutes later, in the same interval: mids, alpha and fills have moved."""
    rng = np.random.default_rng(seed)
    names = tuple(
        msgspec.structs.replace(name, mid=name.mid * math.exp(rng.normal(0, 1e-3)))
        for name in state.names
    )
    parents = tuple(
        msgspec.structs.replace(
            p, alpha_bps=p.alpha_bps + rng.normal(), filled=p.quantity * rng.uniform(0, 0.3)
        )
        for p in state.parents
    )
    return msgspec.structs.replace(state, names=names, parents=parents)


@pytest.mark.parametrize("horizon", [1, 6])
def test_what_is_kept_between_plans_changes_no_bit_of_them(horizon: int) -> None:
    """Layout, matrices and the solver that is set up for them are used again where they fit, and a
    new layout, another risk or other caps in between are no different."""
    model, warm = model_of(40, pairs=5), Scheduler()
    base = state_of(model, horizon)
    bold = msgspec.structs.replace(base, risk=Risk())
    later = tuple(msgspec.structs.replace(p, deadline_min=p.deadline_min + 9) for p in base.parents)
    others = (bold, msgspec.structs.replace(base, parents=later))
    for k, told in enumerate((base, base, others[0], base, others[1], base)):
        state = moved(told, k)
        plan = warm.plan(answer_of(model), state)
        assert plan.answered == "optimal"
        assert plan.to_json() == planned(model, state).to_json()


def test_the_reference_engine_gives_the_same_plan() -> None:
    model = model_of(10)
    state = state_of(model, 2)
    quick, slow = planned(model, state), planned(model, state, engine="cvxpy")
    for one, other in zip(quick.children, slow.children, strict=True):
        assert one.quantity == pytest.approx(other.quantity, rel=1e-5, abs=1e-3)


# -- who answers -----------------------------------------------------------------------------------


def test_normal_coefficients_never_answer_a_stressed_or_unknown_market() -> None:
    model = model_of(4)
    release = release_of(model, "2026-03-26")
    for regime in ("stressed", "unknown", "never heard of"):
        state = state_of(model, regime=regime)
        for answer in (release.model_for(regime), answer_of(model)):
            plan = schedule.plan(answer, state)
            assert (plan.answered, plan.rung) == ("fixed_pov", "fixed_pov")
            assert plan.why and plan.expected is None
            for child in plan.children:
                assert child.participation <= answer.max_pov * (1 + 1e-9)


def test_a_stressed_market_is_answered_by_its_own_model() -> None:
    normal, stressed = model_of(4), model_of(4, seed=9, regime="stressed")
    plan = schedule.plan(answer_of(stressed), state_of(normal, regime="stressed"))
    assert plan.answered == "optimal"


def test_a_model_of_another_universe_does_not_answer() -> None:
    other = model_of(4, symbols=("A", "B", "C", "D"))
    plan = planned(other, state_of(model_of(4)))
    assert plan.answered == "fixed_pov"
    assert plan.why == "the model knows none of the names"


def test_a_name_the_model_does_not_know_is_left_alone_and_said() -> None:
    model = model_of(4)
    state = state_of(model)
    extra = Name("NEW", 10.0, 2.0, 1e5)
    state = msgspec.structs.replace(
        state, names=(extra, *state.names), parents=(Parent("n", "NEW", 1e4, 60.0), *state.parents)
    )
    plan = planned(model, state)
    assert plan.answered == "optimal"
    new = plan.children[0]
    assert (new.symbol, new.quantity) == ("NEW", 0.0)
    assert new.reasons == ("n: not a name of the model",)


@pytest.mark.parametrize("how", ["stops", "raises", "lies", "is not finite"])
def test_ranked_answers_for_a_solver_that_fails(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own solver is replaced by one that is wrong on purpose."""

    def broken(program: Any, caps: Any) -> Solution:
        if how == "raises":
            raise FloatingPointError("singular")
        value = {"stops": 0.0, "lies": 1.0, "is not finite": np.nan}[how]
        u = np.where(np.isnan(value), np.nan, value * caps.most)
        return Solution(u, np.zeros(len(caps.rows)), "MAX_ITER", how != "stops")

    monkeypatch.setattr(fast, "solve", broken)
    model = model_of(6)
    state = state_of(model, tight=False)
    plan = planned(model, state)
    assert plan.answered == "ranked" and plan.why
    monkeypatch.undo()
    assert plan.children == planned(model, state, policy="ranked").children


def test_a_solver_that_stops_at_its_bound_is_judged_by_the_certificate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Few iterations leave flows that do not hold, and enough those that do, whatever PIQP says of
    a precision it was not asked for by the certificate."""
    model = model_of(12)
    state = state_of(model, horizon=3)
    answered = []
    for iterations in (1, 2, 4, 8, 16, 32):
        monkeypatch.setattr(fast, "MAX_ITER", iterations)
        monkeypatch.setattr(fast, "EPS", 1e-18)  # never reached
        plan = planned(model, state)
        answered.append(plan.answered)
        if plan.answered == "optimal":
            assert plan.kkt_residual is not None and plan.kkt_residual <= 1e-6
        else:
            assert plan.why and plan.kkt_residual is None
    assert answered[0] == "ranked" and answered[-1] == "optimal"


def test_a_square_root_model_is_ranked_and_says_why() -> None:
    model = model_of(4, transform="sqrt", reference=np.full(4, 1e-3))
    plan = planned(model, state_of(model))
    assert plan.answered == "ranked" and "square root" in plan.why


def test_a_program_beyond_its_size_is_ranked_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the iterations it bounds the time of a plan, without a clock in it."""
    monkeypatch.setattr(fast, "MOST", 20)
    model = model_of(12)
    made = planned(model, state_of(model, horizon=3))
    assert made.answered == "ranked" and "unknowns, limit 20" in made.why


def test_couplings_without_factors_are_not_tried_beyond_their_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fast, "MOST_DENSE", 10)
    model = model_of(30)
    noise = np.random.default_rng(0).uniform(0.9, 1.1, (30, 30))
    model = replace(model, gamma=model.gamma * np.sqrt(noise * noise.T))
    plan = planned(model, state_of(model))
    assert plan.answered == "ranked" and "no factors" in plan.why


# -- caution ---------------------------------------------------------------------------------------


def test_couplings_are_shrunk_by_their_standard_errors_and_stay_admissible() -> None:
    model = model_of(8)
    noisy = replace(model, gamma_se=np.abs(model.gamma) * 0.5)
    careful, caution = cautious(noisy)
    assert caution.theta == pytest.approx(0.75)
    np.testing.assert_allclose(careful.gamma, 0.75 * model.gamma)
    check(release_of(careful, "2026-03-26"))
    assert reliability(replace(model, gamma_se=np.abs(model.gamma) * 2)) == 0.0
    assert reliability(model) == 1.0  # no standard errors: nothing to go by


def test_the_decay_is_taken_at_its_slow_end() -> None:
    model = model_of(4)
    kernel = model.kernel
    assert kernel is not None
    errors = replace(kernel.errors, half_life_lo=20.0, half_life_hi=50.0)
    careful, caution = cautious(replace(model, kernel=replace(kernel, errors=errors)))
    assert caution.half_life_min == pytest.approx(50.0)
    assert careful.kernel is not None
    assert careful.kernel.half_life_min == pytest.approx(50.0)


# -- rules and guardrails --------------------------------------------------------------------------


def pair_of(one: float, other: float, **fields: Any) -> tuple[Any, DeskState]:
    """Two strongly coupled names, alpha that will not wait, and these quantities."""
    model = model_of(2, sectors=1)
    gamma = model.gamma / np.abs(model.gamma).max() * 0.4 * model.beta.min()
    symmetric = gamma.copy()
    symmetric[1, 0] = gamma[0, 1] * model.adv[0] / model.adv[1]
    model = replace(model, gamma=symmetric, kernel=model.kernel)
    names = tuple(
        Name(s, 50.0, 1.0, float(model.adv[i] / 78 / 50.0), **fields)
        for i, s in enumerate(model.symbols)
    )
    room = [0.15 * float(name.volume or 0) for name in names]  # type: ignore[arg-type]
    parents = tuple(
        Parent(f"p{i}", name.symbol, sign * 8 * room[i], 60.0, alpha_bps=40.0 - 5 * i,
               alpha_half_life_min=10.0)
        for i, (name, sign) in enumerate(zip(names, (one, other), strict=True))
    )  # fmt: skip
    state = DeskState(AT, "normal", names, parents, horizon=4, caps=Caps(0.15))
    return model, state


def test_strongly_coupled_names_are_not_aggressive_together() -> None:
    model, state = pair_of(1, 1)
    free = planned(model, msgspec.structs.replace(state, strong_coupling=None))
    assert [child.style for child in free.children] == ["aggressive", "aggressive"]
    plan = planned(model, state)
    assert sorted(child.style for child in plan.children) == ["aggressive", "passive"]
    rule = plan.rules[0]
    assert rule.rule == "not aggressive together" and rule.cost_usd > 0
    loss = plan.expected.objective_usd - free.expected.objective_usd  # type: ignore[union-attr]
    assert sum(rule.cost_usd for rule in plan.rules) == pytest.approx(loss, rel=1e-9)


def test_strongly_coupled_names_do_not_speed_up_together() -> None:
    model, state = pair_of(1, 1)
    state = msgspec.structs.replace(
        state,
        allowance=Allowance(aggressive=False),
        names=tuple(
            msgspec.structs.replace(name, flow=(Flow(0.0, 0.01 * float(name.volume or 0)),))  # type: ignore[arg-type]
            for name in state.names
        ),
    )
    plan = planned(model, state)
    assert [rule.rule for rule in plan.rules] == ["not faster together"]
    assert len(plan.rules[0].of) == 1


def test_legs_of_a_hedge_go_at_one_pace() -> None:
    model, state = pair_of(1, -1)
    slow = msgspec.structs.replace(state.parents[1], alpha_bps=-5.0)
    state = msgspec.structs.replace(state, parents=(state.parents[0], slow))
    free = planned(model, msgspec.structs.replace(state, strong_coupling=None))
    plan = planned(model, state)
    assert [rule.rule for rule in plan.rules] == ["legs of a hedge together"]
    share = lambda p: [  # noqa: E731
        abs(c.quantity / q.quantity) for c, q in zip(p.children, state.parents, strict=True)
    ]
    assert np.ptp(share(plan)) < np.ptp(share(free))


def shares_of(state: DeskState, share: float, deadline_min: float = 60.0) -> DeskState:
    """The state with orders whose even pace is that share of the market's volume."""
    volume = {name.symbol: name.volume for name in state.names}
    parents = tuple(
        msgspec.structs.replace(
            p, quantity=math.copysign(share * volume[p.symbol] * deadline_min / 5, p.quantity),
            deadline_min=deadline_min,
        )
        for p in state.parents
    )  # fmt: skip
    names = tuple(msgspec.structs.replace(name, working=0.0) for name in state.names)
    return msgspec.structs.replace(state, parents=parents, names=names)


@pytest.mark.parametrize("policy", ["ranked", "optimal"])
def test_what_a_guardrail_holds_rests_with_slack_and_else_goes_evenly(policy: PolicyName) -> None:
    model = model_of(10)
    for guardrail, names in (("amber", 5), ("red", 0)):
        state = state_of(model, horizon=12, tight=False, guardrail=guardrail)
        little = planned(model, shares_of(state, 0.005), policy=policy)
        assert sum(child.quantity != 0 for child in little.children) <= names
        assert sum("rests, guardrail" in " ".join(c.reasons) for c in little.children) == 10 - names
        much = planned(model, shares_of(state, 0.05), policy=policy)
        held = [c for c in much.children if f"even pace, guardrail {guardrail}" in str(c.reasons)]
        assert len(held) == 10 - names
        assert all(child.participation <= HELD * 0.05 * (1 + 1e-9) for child in held)
        assert all(child.style == "passive" for child in (*little.children, *much.children))


def test_a_critical_line_is_not_held_in_red() -> None:
    model = model_of(10)
    state = shares_of(state_of(model, tight=False, guardrail="red"), 0.005)
    critical = (msgspec.structs.replace(state.parents[0], critical=True), *state.parents[1:])
    red = planned(model, msgspec.structs.replace(state, parents=critical))
    assert [c.symbol for c in red.children if not c.reasons] == [state.parents[0].symbol]


@pytest.mark.parametrize("guardrail", ["amber", "red"])
@pytest.mark.parametrize("share", [0.005, 0.03, 0.12])
def test_no_guardrail_leaves_more_to_the_deadline_than_an_even_pace(
    guardrail: GuardrailState, share: float
) -> None:
    """An hour in one state, every child filled: what is left for the last interval is at most what
    an even pace after a wait would leave."""
    model = model_of(8)
    state = shares_of(state_of(model, horizon=12, tight=False, guardrail=guardrail), share)
    whole = np.array([abs(p.quantity) for p in state.parents])
    for _ in range(11):
        plan = planned(model, state, policy="ranked")
        shares = {child.symbol: child.quantity for child in plan.children}
        parents = tuple(
            msgspec.structs.replace(
                p, filled=p.filled + shares[p.symbol], deadline_min=p.deadline_min - 5.0
            )
            for p in state.parents
        )
        state = msgspec.structs.replace(state, parents=parents)
    left = whole - np.array([abs(p.filled) for p in state.parents])
    volume = np.array([name.volume for name in state.names], dtype=np.float64)
    most = np.maximum(whole / 12, state.allowed.rest_share * 0.15 * volume)
    assert (left <= most * (1 + 1e-6)).all()


# -- bad input -------------------------------------------------------------------------------------


def document(**fields: Any) -> dict[str, Any]:
    return {
        "at": "2026-03-27T14:30:00Z",
        "regime": "normal",
        "names": [{"symbol": "A", "mid": 50.0, "spread_bps": 2.0, "volume": 1e4}],
        "parents": [{"id": "p", "symbol": "A", "quantity": 100.0, "deadline_min": 30.0}],
        **fields,
    }


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"speed": 1}, "speed"),
        ({"caps": {"pov": NAN}}, "caps.pov"),
        ({"caps": {"pov": 0.0}}, "caps.pov"),
        ({"caps": {"pov": -0.1}}, "caps.pov"),
        ({"caps": {"sector_net_usd": -1.0}}, "sector_net_usd"),
        ({"caps": {"sector_net_usd": {"tech": NAN}}}, "sector_net_usd"),
        ({"caps": {"risk_usd": NAN}}, "risk_usd"),
        ({"horizon": 0}, "horizon"),
        ({"interval_min": 0.0}, "interval_min"),
        ({"guardrail": "blue"}, "guardrail"),
        ({"risk": {"market": 0.7, "sector": 0.7}}, "risk.market"),
        ({"at": "2026-03-27T14:30:00"}, "at"),
        ({"parents": [{"id": "p", "symbol": "B", "quantity": 1.0, "deadline_min": 1.0}]}, "B"),
        ({"parents": [{"id": "p", "symbol": "A", "quantity": NAN, "deadline_min": 1.0}]},
         "quantity"),
        ({"parents": 2 * [{"id": "p", "symbol": "A", "quantity": 1.0, "deadline_min": 1.0}]}, "p"),
        ({"names": [{"symbol": "A", "mid": 0.0, "spread_bps": 2.0}]}, "mid"),
        ({"names": [{"symbol": "A", "mid": INF, "spread_bps": 2.0}]}, "mid"),
        ({"names": [{"symbol": "A", "mid": 1.0, "spread_bps": 2.0, "volume": -1.0}]}, "volume"),
        ({"names": [{"symbol": "A", "mid": 1.0, "spread_bps": 2.0, "volume": [1.0]}]}, "volume"),
        ({"names": [{"symbol": "A", "mid": 1.0, "spread_bps": 2.0, "flow": [[-1, 5]]}]}, "flow"),
        ({"names": 2 * [{"symbol": "A", "mid": 1.0, "spread_bps": 2.0}]}, "A"),
    ],
)  # fmt: skip
def test_a_wrong_state_is_refused_by_the_fields_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ProblemError, match=named):
        read(document(**fields))


def test_what_is_no_json_is_refused() -> None:
    for text in (b"", b"{", b"[]", b'{"at": NaN}', b"\xff"):
        with pytest.raises(ProblemError):
            read(text)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"halted": True}, "halted"),
        ({"stale": True}, "stale data"),
        ({"spread_bps": -3.0}, "crossed quotes"),
        ({"volume": None}, "market volume not known"),
        ({"volume": 0.0}, "no market volume"),
    ],
)
@pytest.mark.parametrize("policy", ["optimal", "ranked"])
@pytest.mark.parametrize("rung", ["model", "fixed_pov"])
def test_a_name_with_a_broken_market_rests_and_the_others_trade(
    fields: dict[str, Any], reason: str, policy: Any, rung: str
) -> None:
    model = model_of(4)
    state = with_name(state_of(model, tight=False), "S0001", **fields)
    plan = schedule.plan(answer_of(model if rung == "model" else None), state, policy)
    broken = plan.children[1]
    assert broken.quantity == 0.0 and reason in broken.reasons[0]
    assert sum(child.quantity != 0 for child in plan.children) >= 1
    target = plan.targets[1].cumulative
    assert len(set(target)) == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"filled": 200.0}, "overfilled"),
        ({"filled": 100.0}, "nothing left to trade"),
        ({"deadline_min": 0.0}, "past its deadline"),
        ({"quantity": 0.0}, "nothing left to trade"),
    ],
)
def test_a_parent_that_is_done_rests(fields: dict[str, Any], reason: str) -> None:
    model = model_of(1, sectors=1)
    parent = {"id": "p", "symbol": "S0000", "quantity": 100.0, "deadline_min": 30.0, **fields}
    names = [{"symbol": "S0000", "mid": 50.0, "spread_bps": 2.0, "volume": 1e4}]
    plan = planned(model, read(document(names=names, parents=[parent])))
    assert plan.children[0].quantity == 0.0
    assert plan.children[0].reasons == (f"p: {reason}",)


def test_a_desk_does_not_trade_against_itself() -> None:
    parents = [
        {"id": "buy", "symbol": "A", "quantity": 100.0, "deadline_min": 30.0},
        {"id": "sell", "symbol": "A", "quantity": -100.0, "deadline_min": 30.0},
    ]
    with pytest.raises(ProblemError, match="both directions"):
        planned(model_of(1, sectors=1, symbols=("A",)), read(document(parents=parents)))


def test_a_sector_nobody_has_is_refused() -> None:
    model = model_of(3)
    state = state_of(model, caps=Caps(0.1, {"shipping": 1e6}))
    with pytest.raises(ProblemError, match="shipping"):
        planned(model, state)


def test_an_interval_other_than_the_models_bucket_is_refused() -> None:
    model = model_of(3)
    with pytest.raises(ProblemError, match="interval_min is 1"):
        planned(model, state_of(model, interval_min=1.0))


def test_an_unknown_policy_or_engine_is_refused() -> None:
    model = model_of(2)
    for words in ({"policy": "best"}, {"engine": "quick"}):
        with pytest.raises(UsageError):
            planned(model, state_of(model), **words)


def test_what_is_at_the_market_counts_as_used() -> None:
    """Also when it breaks the caps by itself: they are relaxed to it, and the plan says so."""
    model = model_of(3)
    state = state_of(model, horizon=2, tight=False)
    name, parent = state.names[0], state.parents[0]
    working = 0.5 * float(name.volume or 0) * float(np.sign(parent.quantity))  # type: ignore[arg-type]
    state = with_name(state, name.symbol, working=working)
    state = msgspec.structs.replace(state, caps=Caps(0.15, sector_net_usd=1.0, risk_usd=1.0))
    plan = planned(model, state)
    assert plan.children[0].quantity == 0.0
    kinds = [text.split(" ")[0].rstrip(":") for text in plan.relaxed]
    assert kinds == sorted(kinds, key=["pov", "sector_net", "risk"].index)
    assert {"pov", "sector_net", "risk"} <= set(kinds)
    used = min(abs(working), abs(parent.quantity))
    assert abs(plan.targets[0].cumulative[0]) == pytest.approx(abs(parent.filled) + used)


def test_several_parents_of_a_name_share_its_volume() -> None:
    model = model_of(3)
    state = state_of(model, horizon=3, tight=False)
    first = state.parents[0]
    more = tuple(
        msgspec.structs.replace(first, id=f"x{k}", deadline_min=20.0 + 40 * k) for k in range(2)
    )
    state = msgspec.structs.replace(state, parents=(*state.parents, *more))
    for policy in ("optimal", "ranked"):
        plan = planned(model, state, policy=policy)
        assert_keeps_caps(plan, state, model)
        assert plan.answered == policy


# -- explanations ----------------------------------------------------------------------------------


def test_an_explanation_adds_up_to_the_models_marginal_cost() -> None:
    model = model_of(6)
    state = state_of(model, 3)
    plan = planned(model, state)
    for symbol in model.symbols:
        told = explanation(state, plan, answer_of(model), symbol)
        assert told.rank is not None and 1 <= told.rank <= told.of == 6
        assert told.child == next(c for c in plan.children if c.symbol == symbol)
        assert all(cap in plan.binding for cap in told.caps)
        i = model.symbols.index(symbol)
        sign = np.sign(state.parents[i].quantity)
        assert told.linear_bps == pytest.approx(model.alpha[i] if told.child.quantity else 0.0) or (  # type: ignore[union-attr]
            state.names[i].working
        )
        flows = np.zeros((3, 6))
        for k, (target, parent) in enumerate(zip(plan.targets, state.parents, strict=True)):
            used = 0.0
            if state.names[k].working * parent.quantity > 0:
                used = min(abs(state.names[k].working), abs(parent.quantity))
            start = parent.filled + np.sign(parent.quantity) * used
            flows[:, k] = np.diff([start, *target.cumulative]) * state.names[k].mid
        flows[0] += [name.working * name.mid for name in state.names]
        total = sign * 1e4 * model.path_marginal_cost(flows / model.adv)[0, i]
        parts = (told.linear_bps, told.own_bps, told.cross_bps)
        assert sum(part or 0.0 for part in parts) == pytest.approx(total, rel=1e-6, abs=1e-9)
        now = sign * float(model.cross_bps(flows[0] / model.adv)[i])
        assert sum(pair.bps for pair in told.pairs) == pytest.approx(now, rel=1e-6, abs=1e-9)


def test_an_unknown_name_cannot_be_explained() -> None:
    model = model_of(2)
    state = state_of(model)
    with pytest.raises(ProblemError, match="NOPE"):
        explanation(state, planned(model, state), answer_of(model), "NOPE")
