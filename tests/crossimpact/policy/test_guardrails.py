"""Guardrails: the whole transition table, hysteresis, confirmation, cold start, levels, replay."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from crossimpact.cost_indices import BURN_BUCKETS, budget_burn, session_pressure
from crossimpact.estimate.guardrail_levels import MIN_BUCKETS, levels
from crossimpact.kernel.decay import Decay
from crossimpact.ladder import RUNGS
from crossimpact.model import ImpactModel
from crossimpact.panel import Panel
from crossimpact.policy.guardrails import (
    AMBER,
    GREEN,
    RED,
    STATES,
    Memory,
    Reading,
    advance,
    cold,
    colour,
    states,
    step,
    without_couplings,
)
from crossimpact.policy.state import ALLOWED
from crossimpact.release.content import PERCENTILES, Guardrail
from crossimpact.release.policy import DEFAULT
from tests.crossimpact.estimate.desk import draw

LEVELS = {
    "cpi_bps": Guardrail(1.0, 2.0),
    "ibb": Guardrail(1.5, 3.0),
    "data_age_s": Guardrail(15.0, 60.0),
    "model_age_days": Guardrail(1.0, 2.0),
}
#: A value of each colour.
VALUES = {"cpi_bps": (0.5, 1.5, 2.5), "ibb": (1.0, 2.0, 4.0), "data_age_s": (1.0, 20.0, 90.0)}
MEMORIES = [
    Memory(*row)
    for row in product((GREEN, AMBER, RED), (0, 1), (False, True), (GREEN, AMBER, RED))
    if row[3] == GREEN or row[3] > row[0]
]


def reading(cpi=GREEN, ibb=GREEN, data=GREEN, closes=True, model=0.1) -> Reading:
    chosen = (VALUES[n][c] for n, c in (("cpi_bps", cpi), ("ibb", ibb), ("data_age_s", data)))
    return Reading(*chosen, model, closes)


def expected(memory: Memory, measured: int, aged: int, closes: bool) -> Memory:
    """The rules of the module's first lines, one after the other."""
    target = aged
    if measured > memory.state and memory.suspect > memory.state:
        target = max(target, min(measured, memory.suspect))
    if target > memory.state:  # up
        rest = measured if measured > target else GREEN
        return Memory(target, 0, not closes, rest)
    better = max(measured, aged) < memory.state and not memory.spoiled
    suspect = measured if measured > memory.state else GREEN
    if not closes:
        return Memory(memory.state, memory.improved, not better, suspect)
    if not better:
        return Memory(memory.state, 0, False, suspect)
    if memory.improved == 1:  # the second in a row
        return Memory(memory.state - 1, 0, False, GREEN)
    return Memory(memory.state, memory.improved + 1, False, suspect)


def test_every_transition_of_every_memory() -> None:
    rows = list(product(MEMORIES, range(3), range(3), (False, True)))
    assert len(rows) == 24 * 18
    for memory, measured, aged, closes in rows:
        after = advance(memory, measured, aged, closes)
        assert after == expected(memory, measured, aged, closes), (memory, measured, aged, closes)
        assert after.state >= memory.state - 1
        assert after.state >= aged or after.state == memory.state - 1 >= aged
        if after.state < memory.state:
            assert closes and memory.improved == 1 and not memory.spoiled


@pytest.mark.parametrize("name", ["cpi_bps", "ibb", "data_age_s"])
def test_a_quantity_is_amber_from_its_first_level_and_red_beyond_its_second(name: str) -> None:
    level = LEVELS[name]
    for value, told in (
        (math.nextafter(level.amber, 0), GREEN), (level.amber, AMBER), (level.red, AMBER),
        (math.nextafter(level.red, math.inf), RED), (math.nan, AMBER), (math.inf, RED),
    ):  # fmt: skip
        row = Reading(**{**vars(reading()), name: value})
        assert colour(LEVELS, row, name) == told, value


def test_no_expected_cost_is_no_alarm_even_where_the_window_saw_none() -> None:
    flat = {**LEVELS, "cpi_bps": Guardrail(0.0, 0.0)}
    for value in (None, -3.0, 0.0):
        assert colour(flat, Reading(value, 1.0, 1.0, 0.1, True), "cpi_bps") == GREEN
    assert colour(flat, Reading(0.1, 1.0, 1.0, 0.1, True), "cpi_bps") == RED


@pytest.mark.parametrize("bad", [{"cpi": RED}, {"ibb": RED}])
def test_a_single_bad_tick_changes_nothing_and_a_second_one_is_believed(bad) -> None:
    calm = reading()
    memory = Memory(GREEN)
    told = list(states(LEVELS, [calm, reading(**bad), calm, reading(**bad), calm], memory))
    assert told == ["green"] * 5
    told = list(states(LEVELS, [reading(**bad), reading(**bad)], memory))
    assert told == ["green", "red"]
    amber = dict.fromkeys(bad, AMBER)
    assert list(states(LEVELS, [reading(**bad), reading(**amber)], memory)) == ["green", "amber"]


def test_age_counts_at_once_amber_then_red() -> None:
    told = [reading(), reading(data=AMBER, closes=False), reading(data=RED, closes=False)]
    assert list(states(LEVELS, told, Memory(GREEN))) == ["green", "amber", "red"]
    old = [Reading(0.1, 1.0, 1.0, days, False) for days in (0.5, 1.5, 2.5)]
    assert list(states(LEVELS, old, Memory(GREEN))) == ["green", "amber", "red"]
    assert list(states({}, old, Memory(GREEN)))[-1] == "red"  # ages have levels without a release


def test_a_session_begins_amber_and_earns_its_green() -> None:
    assert Memory().name == "amber"
    assert list(states(LEVELS, [reading()] * 3)) == ["amber", "green", "green"]
    idle = Reading(None, None, 1.0, 0.1, True)  # nothing traded is no reason for alarm
    assert list(states(LEVELS, [idle] * 2)) == ["amber", "green"]


def test_red_comes_down_a_step_at_a_time() -> None:
    told = list(states(LEVELS, [reading()] * 5, Memory(RED)))
    assert told == ["red", "amber", "amber", "green", "green"]
    spoiled = [reading(), reading(cpi=RED, closes=False), reading(), reading(), reading()]
    assert list(states(LEVELS, spoiled, Memory(RED))) == ["red"] * 3 + ["red", "amber"]


def test_without_levels_a_regime_stays_amber_and_says_why() -> None:
    old = {"cross_bps": Guardrail(1.0, 2.0), "q_adv": Guardrail(0.1, 0.2)}  # of an older release
    for levels_ in ({}, old):
        assert set(states(levels_, [reading()] * 6)) == {"amber"}
        assert cold(levels_, coupled=True).startswith("cold start: the release has no level of cpi")
        assert "red" not in set(states(levels_, [reading(cpi=RED, ibb=RED)] * 6))
    alone = {name: level for name, level in LEVELS.items() if name != "cpi_bps"}
    assert not cold(alone, coupled=False) and cold(alone, coupled=True)
    uncoupled = without_couplings(alone)
    calm = Reading(0.0, 1.0, 1.0, 0.1, True)
    assert list(states(uncoupled, [calm] * 2)) == ["amber", "green"]


def test_a_change_says_the_number_its_percentile_and_its_levels() -> None:
    table = tuple(float(p) for p in PERCENTILES)
    ranked = {**LEVELS, "ibb": Guardrail(80.0, 95.0, table)}
    row = Reading(0.1, 97.0, 1.0, 0.1, True)
    memory, first = step(ranked, Memory(GREEN), row)
    _, (change,) = step(ranked, memory, row)
    assert first == () and (change.before, change.after) == ("green", "red")
    assert change.why == "ibb 97 (percentile 97), amber 80, red 95"


def test_each_state_allows_no_more_than_the_one_before() -> None:
    for one, other in pairwise(STATES):
        better, worse = ALLOWED[one], ALLOWED[other]
        assert worse.pov_share < better.pov_share and worse.names_share < better.names_share
        assert worse.aggressive <= better.aggressive
        assert worse.critical_only >= better.critical_only
        assert RUNGS.index(worse.rung) > RUNGS.index(better.rung)
    assert not ALLOWED["amber"].aggressive and ALLOWED["red"].critical_only


class Hysteresis(RuleBasedStateMachine):
    """Random readings against what may be said of any history of them."""

    def __init__(self) -> None:
        super().__init__()
        self.memory, self.better_windows, self.all_better = Memory(), 0, True
        self.last_measured = GREEN

    @rule(
        cpi=st.sampled_from(range(3)), ibb=st.sampled_from(range(3)),
        data=st.sampled_from(range(3)), closes=st.booleans(),
    )  # fmt: skip
    def observe(self, cpi: int, ibb: int, data: int, closes: bool) -> None:
        before = self.memory.state
        self.memory, changes = step(LEVELS, self.memory, reading(cpi, ibb, data, closes))
        after, measured = self.memory.state, max(cpi, ibb)
        assert after >= min(data, RED)
        assert len(changes) == (after != before)
        self.all_better &= max(measured, data) < before
        if after > before:
            assert after == max(data, min(measured, self.last_measured))
        if after < before:
            assert closes and after == before - 1
            assert self.all_better and self.better_windows == 1
        self.last_measured = measured
        if after != before:
            self.better_windows = 0
            self.all_better = closes or after < before
        elif closes:
            self.better_windows = self.better_windows + 1 if self.all_better else 0
        if closes:
            self.all_better = True

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.memory in MEMORIES or self.memory.state == GREEN


TestHysteresis = Hysteresis.TestCase
TestHysteresis.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(*[st.sampled_from(range(3))] * 3, st.booleans()), max_size=40))
@settings(max_examples=50, deadline=None)
def test_a_log_replays_to_the_same_states_from_any_point(rows) -> None:
    log = [reading(*row) for row in rows]
    whole = list(states(LEVELS, log))
    memory, told = Memory(), []
    for row in log[: len(log) // 2]:
        memory, _ = step(LEVELS, memory, row)
        told.append(memory.name)
    assert (
        told + list(states(LEVELS, log[len(log) // 2 :], memory))
        == whole
        == list(states(LEVELS, log))
    )


# -- the indices and their levels --------------------------------------------------------------


@pytest.fixture(scope="module")
def desk() -> tuple[Panel, ImpactModel]:
    panel, truth = draw(T=1200)
    model = ImpactModel(
        panel.symbols, panel.sectors, panel.adv, "normal", truth["alpha"], truth["beta"],
        truth["gamma"],
    )  # fmt: skip
    return panel, model


def test_cross_pressure_is_the_models_cross_cost_per_notional(desk) -> None:
    panel, model = desk[0], desk[1]
    q = panel.q[:8]
    pressure = session_pressure(model, q)
    notional = np.abs(q * model.adv).sum(axis=1)
    np.testing.assert_allclose(pressure, 1e4 * model.cost(q).cross / notional, rtol=1e-12)


def test_cross_pressure_counts_what_earlier_buckets_left(desk) -> None:
    panel, model = desk[0], desk[1]
    q = panel.q[:8]
    kernel = Decay.from_half_life(30.0, permanent=0.2, scale_cross=1.3)
    carried = replace(model, kernel=kernel)
    path = carried.path_cost(q)
    notional = np.abs(q * model.adv).sum(axis=1)
    told = session_pressure(carried, q)
    np.testing.assert_allclose(told * notional / 1e4, path.cross_now + path.cross_carried)
    assert not np.allclose(told, session_pressure(model, q))
    idle = session_pressure(carried, np.vstack((q, np.zeros((1, q.shape[1])))))
    assert np.isnan(idle[-1]) and np.array_equal(idle[:-1], told)


def test_budget_burn_is_a_trailing_ratio_of_sums() -> None:
    realized, budget = np.arange(1.0, 11.0), np.full(10, 2.0)
    told = budget_burn(realized, budget)
    for k in range(10):
        rows = slice(max(0, k + 1 - BURN_BUCKETS), k + 1)
        assert told[k] == pytest.approx(realized[rows].sum() / budget[rows].sum())
    assert np.isnan(budget_burn(np.ones(3), np.zeros(3))).all()


def test_levels_stand_where_the_policy_says_among_the_regimes_buckets(desk) -> None:
    panel, model = desk[0], desk[1]
    rows = levels(model, panel, 5.0)
    assert set(rows) == {"cpi_bps", "ibb", "data_age_s", "model_age_days"}
    pressure = np.concatenate(
        [session_pressure(model, panel.q[panel.date == date]) for date in np.unique(panel.date)]
    )
    known = pressure[np.isfinite(pressure)]
    cpi = rows["cpi_bps"]
    assert (known > cpi.amber).mean() == pytest.approx(0.30, abs=0.01)
    assert (known > cpi.red).mean() == pytest.approx(0.10, abs=0.01)
    assert cpi.percentile(cpi.amber) == pytest.approx(70, abs=1e-9)
    assert rows["ibb"].percentile(rows["ibb"].red) == pytest.approx(95, abs=1e-9)
    assert rows["ibb"].percentile(-1e9) == 0 and rows["ibb"].percentile(1e9) == 100
    ages = DEFAULT.refit.guardrails.ages
    assert rows["data_age_s"] == Guardrail(ages.data_amber_s, ages.data_red_s)


def test_a_model_without_couplings_and_a_short_window_have_no_reference(desk) -> None:
    panel, model = desk[0], desk[1]
    assert "cpi_bps" not in levels(model.self_only(), panel, 5.0)
    few = panel.where(panel.date == panel.date[0])
    assert len(few.ts) > MIN_BUCKETS or not {"cpi_bps", "ibb"} & set(levels(model, few, 5.0))
