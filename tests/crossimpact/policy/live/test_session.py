"""A live session: each row of bad input is a rule; nothing is asked for twice, it lives on."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.errors import ProblemError
from crossimpact.policy.limits import Limits
from crossimpact.policy.live import events
from crossimpact.policy.live.events import (
    Cancel,
    Clock,
    Control,
    Event,
    LimitsChange,
    ModeChange,
    OrderState,
    Print,
    Regime,
    Status,
)
from crossimpact.policy.live.intake import Seen
from crossimpact.release.content import Hold
from tests.crossimpact.policy.live import desk
from tests.crossimpact.policy.live.desk import (
    LOOSE,
    OPEN,
    RELEASE,
    at,
    fill,
    opening,
    parent,
    quote,
    quotes,
    run,
    session,
    snapshot,
    swap,
    targets,
)


def started(**fields):
    made = session(**fields)
    run(made, opening())
    (first,) = run(made, quotes(62.0))[-1:]
    return made, first


def clock(age: float = 0.0, days: float = 0.0) -> Clock:
    return Clock(data_age_s=age, model_age_days=days, at=OPEN)


# -- lines that are no events ----------------------------------------------------------------------


HEAD = '"at":"2026-03-02T14:30:00Z"'
QUOTE = f'{{"type":"market",{HEAD},"symbol":"A","bid":1,"ask":1'
FILL = f'{{"type":"fill",{HEAD},"id":"f","parent":"p","symbol":"A","price":1'


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (QUOTE.replace('"bid":1', '"bid":NaN') + "}", "malformed"),
        (QUOTE.replace('"bid":1', '"bid":-1') + "}", "bid"),
        (QUOTE.replace('"ask":1', '"ask":0') + "}", "ask"),
        (QUOTE + ',"volume":-5}', "volume"),
        (QUOTE + ',"colour":1}', "colour"),
        (QUOTE.replace("00Z", "00") + "}", "timezone"),
        (f'{{"type":"tick",{HEAD}}}', "tick"),
        (f'{{"type":"control",{HEAD},"level":"RUN","who":"a","reason":"b"}}', "control"),
        (f'{{"type":"clock",{HEAD},"data_age_s":0,"model_age_days":0}}', "clock"),
        (FILL + ',"quantity":"1"}', "quantity"),
        (FILL + ',"quantity":1e400}', ""),
        (FILL + ',"quantity":1e300}', "quantity"),
        (QUOTE, ""),
        ("\xff", ""),
        ("[]", ""),
    ],
)
def test_a_line_that_is_no_event_is_refused_by_its_field(line: str, told: str) -> None:
    """A feed may neither set a level nor tell the time."""
    with pytest.raises(ProblemError, match=f"an event is refused.*{told}"):
        events.read(line.encode("latin-1"))


def test_events_survive_their_journal() -> None:
    rows = [*opening(), fill("f", "p1", "A", 1.0, 2.0), snapshot(3.0, {"p1": 1.0}, {"p1": None})]
    own = [swap(), clock(), Control(level="KILL", who="a", reason="b", at=OPEN),
           ModeChange(to="full", at=OPEN), LimitsChange(limits=LOOSE, at=OPEN)]  # fmt: skip
    for row in [*rows, *own]:
        line = msgspec.json.encode(events.plain(row))
        assert events.read(line, own=True) == row


def test_a_parent_of_no_rollout_is_written_as_before_there_were_any() -> None:
    alone = next(row for row in opening() if isinstance(row, events.ParentOrder))
    told = events.plain(alone)
    assert not {"basket", "basket_usd", "arm", "propensity"} & told.keys()
    assert events.read(msgspec.json.encode(told)) == alone
    control = msgspec.structs.replace(alone, basket="b", basket_usd=1e6, arm="control")
    assert events.plain(control)["arm"] == "control"
    assert events.read(msgspec.json.encode(events.plain(control))) == control


# -- bad input, told and lived through -------------------------------------------------------------

SKIPPED = {
    "crossed quotes": (quote("A", 70.0, bid=101.0, ask=99.0), "crossed quotes: bid 101 over"),
    "a clock going back": (quote("A", 30.0), "late by 33.000 s"),
    "a duplicate": (quote("A", 70.0, source="x", seq=1), "duplicate 1 of x"),
    "fill of an unknown order": (fill("u", "p9", "A", 10.0, 70.0), "the unknown order p9"),
    "fill of another symbol": (fill("u", "p1", "B", 10.0, 70.0), "the unknown order p1 in B"),
    "a fill twice": (fill("f0", "p1", "A", 10.0, 70.0), "fill f0 is there already"),
    "a fill of nothing": (fill("u", "p1", "A", 0.0, 70.0), "or of 0 shares"),
    "overfill": (fill("u", "p1", "A", 99_000.0, 70.0), "parent p1 is overfilled: 99100 of 9000"),
    "a gap in the fills": (
        fill("u", "p1", "A", 10.0, 70.0, venue_seq=9), "fills 2 to 8 of A are missing"),
    "another count": (
        fill("u", "p1", "A", 10.0, 70.0, cumulative=500.0), "p1 is filled 110, told 500"),
    "bust of an unknown fill": (
        fill("u", "p1", "A", 10.0, 70.0, kind="bust", ref="nil"), "bust of the unknown fill nil"),
    "correction without reference": (
        fill("u", "p1", "A", 10.0, 70.0, kind="correct"), "correct of the unknown fill None"),
    "cancel of an unknown parent": (Cancel(parent="p9", at=at(70.0)), "unknown or cancelled"),
    "order of an unknown parent": (
        OrderState(parent="p9", status="working", at=at(70.0)), "the unknown parent p9"),
    "snapshot of an unknown parent": (
        snapshot(70.0, {"p9": 1.0}, {}), "snapshot of unknown parents: p9"),
    "a parent of nothing": (parent("p3", "C", 0.0, 70.0), "parent p3 is of 0 shares"),
    "a parent against another": (parent("p3", "A", -10.0, 70.0), "p1 and p3 trade A both ways"),
    "a parent that changes sides": (parent("p1", "A", -10.0, 70.0), "parent p1 was of +9000 A"),
    "a parent that changes names": (parent("p1", "B", 10.0, 70.0), "parent p1 was of +9000 A"),
}  # fmt: skip


@pytest.mark.parametrize("case", SKIPPED)
def test_bad_input_is_told_and_the_session_lives_on(case: str) -> None:
    event, told = SKIPPED[case]
    made, _ = started()
    run(made, [fill("f0", "p1", "A", 100.0, 63.0, venue_seq=1, source="x", seq=1)])
    run(made, [quote("C", 64.0)])
    reasons = []
    for row in [event, quote("C", 71.0)]:
        made.apply(row)
        reasons += [skip.why for skip in made.skipped]
    assert any(told in reason for reason in reasons), reasons
    later = run(made, [row for k in range(2, 8) for row in quotes(300.0 * k)])
    assert later and all(row.level == "RUN" for row in later)
    for row in later:
        for asked in row.targets:
            assert abs(asked.target) <= 9000.0 or case == "overfill"


@pytest.mark.parametrize(
    ("event", "trigger"),
    [
        (Status(symbol="A", status="halted", at=at(70.0)), "halted A"),
        (Status(symbol="A", status="delisted", at=at(70.0)), "delisted A"),
        (quote("A", 70.0, bid=101.0, ask=99.0), "stale A"),
        (quote("A", 70.0, volume=0.0), None),
        (fill("u", "p9", "A", 1.0, 70.0), "unreconciled A"),
    ],
)
def test_a_name_that_may_not_trade_keeps_its_last_target(event, trigger) -> None:
    made, first = started()
    was = targets(first)["p1"]
    told = run(made, [event, *[quote(s, k) for k in (300.0, 310.0) for s in ("B", "C")]])
    assert told and {targets(row)["p1"] for row in told} == {was}
    assert trigger is None or trigger in [why for row in told for why in row.triggers]


def test_halt_and_resume_are_decided_at_once() -> None:
    made, _ = started()
    told = run(made, [Status(symbol="A", status="halted", at=at(70.0)), *quotes(75.0)])
    assert [row.triggers for row in told] == [("halted A",)] and told[0].at == at(70.0)
    told = run(made, [Status(symbol="A", status="trading", at=at(80.0)), *quotes(85.0)])
    assert told[0].triggers == ("trading A",) and told[0].at == at(80.0)


@pytest.mark.parametrize(
    ("event", "trigger"),
    [
        (Regime(regime="stressed", at=at(70.0)), "regime stressed"),
        (parent("p3", "C", 100.0, 70.0), "parent p3"),
        (Cancel(parent="p1", at=at(70.0)), "cancel p1"),
        (quote("C", 300.5), "timer"),
    ],
)
def test_what_makes_a_plan_anew(event, trigger: str) -> None:
    made, _ = started()
    told = run(made, [event, *quotes(302.0)])
    assert trigger in [why for row in told for why in row.triggers]


def test_a_release_or_a_demotion_makes_a_plan_anew_and_the_same_release_does_not() -> None:
    made, _ = started()
    run(made, [swap(), clock()])
    assert run(made, [clock()]) == []
    held = {"normal": events.HeldRung("self_only", "drift")}
    told = run(made, [msgspec.structs.replace(swap(), held=held), clock()])
    assert told[0].triggers[0].startswith("release") and told[0].rung == "self_only"
    assert made.release is not None and made.release.held["normal"] == Hold("self_only", "drift")


# -- never another regime's numbers ----------------------------------------------------------------


@pytest.mark.parametrize("regime", ["stressed", "unknown", "carnival"])
def test_a_market_without_a_model_is_not_answered_by_the_normal_one(regime: str) -> None:
    made, first = started()
    assert (first.answered, first.rung) == ("ranked", "self_only")  # amber: no pairs are believed
    told = run(made, [Regime(regime=regime, at=at(70.0)), *quotes(300.5), *quotes(310.0)])
    assert {(row.answered, row.rung) for row in told} == {("fixed_pov", "fixed_pov")}
    assert made.reading.cpi_bps is None


def test_a_model_of_another_universe_is_not_used() -> None:
    other = replace(desk.model(), symbols=("X", "Y", "Z"))
    made = session(replace(RELEASE, models={"normal": other}))
    told = run(made, [*opening(), *quotes(300.5)])
    assert told[-1].answered == "fixed_pov" and "knows none of the names" in told[-1].why


def test_without_a_release_a_fixed_share_answers_and_says_why() -> None:
    made = session()
    none = events.Swap(digest="", reason="the registry is away", fixed_pov=0.05, at=OPEN)
    told = run(made, [none, *opening(), *quotes(300.5), *quotes(310.0)])
    assert told[-1].answered == "fixed_pov" and "registry is away" in told[-1].why
    assert told[-1].release == "" and told[-1].guardrail == "amber"


# -- fills, snapshots, what is outstanding ---------------------------------------------------------


def test_corrections_and_busts_leave_what_was_really_filled() -> None:
    made, _ = started()
    told = [
        fill("f1", "p1", "A", 100.0, 63.0, cumulative=100.0),
        fill("f2", "p1", "A", 80.0, 64.0, kind="correct", ref="f1", cumulative=80.0),
        fill("f3", "p1", "A", 50.0, 65.0, cumulative=130.0),
        fill("f4", "p1", "A", 50.0, 66.0, kind="bust", ref="f3", cumulative=80.0),
    ]
    run(made, [*told, *quotes(70.0)])
    assert made.book.orders["p1"].filled == 80.0 and not made.book.unreconciled
    assert made.book.traded_usd == pytest.approx(80.0 * 100.01)
    assert sum(bucket.shares["A"] for bucket in made.book.buckets.values()) == 80.0


@pytest.mark.parametrize("lost", range(1, 5))
def test_lost_fills_are_found_and_nothing_is_asked_for_twice(lost: int) -> None:
    """Heartbeats go on; the name stands until a snapshot says what happened, which wins."""
    made, first = started()
    asked = targets(first)["p1"]
    each = asked / 10
    rows = [fill(f"f{k}", "p1", "A", each, 63.0 + k, venue_seq=k) for k in range(1, 7)]
    told = run(made, [*rows[:1], *rows[1 + lost :], *quotes(300.5), *quotes(320.0)])
    assert "A" in made.book.unreconciled and made.guardrail.name != "green"
    assert targets(told[-1])["p1"] == pytest.approx(asked)
    run(made, [snapshot(330.0, {"p1": 6 * each}, {"p1": asked - 6 * each}), *quotes(340.0)])
    order = made.book.orders["p1"]
    assert "A" not in made.book.unreconciled
    assert order.filled == pytest.approx(6 * each)
    assert asked <= order.target <= 2 * asked  # the snapshot's, and one child of the next plan


@pytest.mark.parametrize(("parent_", "symbol"), [("p1", "GHOST"), ("p9", "GHOST")])
def test_a_fill_of_nobody_is_settled_by_a_snapshot_of_all_that_is_open(parent_, symbol) -> None:
    """It may have been of the parent it names, or of no name of the desk; until then amber."""
    made, _ = started()
    run(made, [row for k in range(1, 3) for row in quotes(300.0 * k + 1)])
    assert made.guardrail.name == "green"
    run(made, [fill("u", parent_, symbol, 10.0, 602.0), *quotes(603.0)])
    assert made.guardrail.name == "amber"
    assert set(made.book.unreconciled) == {"A" if parent_ == "p1" else "GHOST"}
    run(made, [snapshot(604.0, {"p1": 0.0}, {}), *quotes(605.0)])
    assert set(made.book.unreconciled) == (set() if parent_ == "p1" else {"GHOST"})
    run(made, [snapshot(606.0, {"p1": 0.0, "p2": 0.0}, {}), *quotes(607.0)])
    assert not made.book.unreconciled
    run(made, [row for k in range(3, 6) for row in quotes(300.0 * k + 1)])
    assert made.guardrail.name == "green"


def test_an_unknown_working_quantity_counts_as_used() -> None:
    made, first = started()
    asked = targets(first)["p1"]
    run(made, [OrderState(parent="p1", status="working", leaves=None, at=at(63.0))])
    run(made, [snapshot(64.0, {"p1": 0.0}, {"p1": None}), *quotes(70.0)])
    assert made.book.orders["p1"].outstanding == asked
    assert made.desk().names[0].working == asked


def test_a_cancelled_parent_is_outstanding_until_it_is_terminal() -> None:
    """Fills in flight still count; two children, one answer lost: not flat."""
    made, first = started()
    asked = targets(first)
    run(made, [fill("f1", "p1", "A", 10.0, 63.0)])
    told = run(made, [Cancel(parent="p1", at=at(70.0)), *quotes(75.0)])
    assert targets(told[0])["p1"] == 10.0 and told[0].outstanding["p1"] == asked["p1"] - 10.0
    told = run(made, [fill("f2", "p1", "A", 5.0, 76.0), *quotes(300.5), *quotes(310.0)])
    assert targets(told[-1])["p1"] == 15.0 and "p1" in told[-1].outstanding
    done = OrderState(parent="p1", status="cancelled", leaves=0.0, at=at(311.0))
    told = run(made, [done, *quotes(600.5), *quotes(610.0)])
    assert "p1" not in told[-1].outstanding


def test_a_late_fill_counts_and_a_late_quote_does_not() -> None:
    made, _ = started()
    made.apply(fill("f1", "p1", "A", 10.0, 20.0))
    run(made, [quote("A", 20.0, 50.0), *quotes(70.0)])
    assert made.book.orders["p1"].filled == 10.0 and made.book.quotes["A"].mid == 100.0


# -- levels, modes, limits -------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["PAUSE", "CANCEL", "KILL"])
def test_a_level_is_decided_at_once_and_latched(level) -> None:
    made, first = started()
    asked = targets(first)["p1"]
    (told,) = run(made, [Control(level=level, who="ann", reason="drill", at=at(63.0))])
    assert told.level == level and targets(told)["p1"] == (asked if level == "PAUSE" else 0.0)
    assert told.outstanding["p1"] == asked  # whatever was asked for, it is not flat
    later = run(made, [row for k in range(1, 5) for row in quotes(300.0 * k)])
    assert {row.level for row in later} == {level} and {row.answered for row in later} == {"nobody"}
    for weaker in ("PAUSE", "CANCEL"):
        assert run(made, [Control(level=weaker, who="bob", reason="", at=at(1300.0))]) == [] or (
            level == "PAUSE" and weaker == "CANCEL"
        )


@pytest.mark.parametrize(("who", "reason"), [("", "all well"), ("ann", ""), (" ", " ")])
def test_a_reset_needs_a_name_and_a_reason(who: str, reason: str) -> None:
    made, _ = started()
    run(made, [Control(level="KILL", who="ann", reason="drill", at=at(63.0))])
    assert run(made, [Control(level="RUN", who=who, reason=reason, at=at(64.0))]) == []
    assert made.level == "KILL"
    (told,) = run(made, [Control(level="RUN", who="ann", reason="looked", at=at(65.0))])
    assert told.level == "RUN" and told.triggers == ("reset by ann: looked",)


def test_one_step_up_needs_a_person_and_evidence_and_a_kill_steps_down() -> None:
    made, first = started()
    assert first.mode == "advisory"
    run(made, [ModeChange(to="full", who="ann", at=at(63.0))])
    assert made.mode == "advisory"
    run(made, [ModeChange(to="full", who="ann", evidence="shadow week 9", at=at(63.0))])
    (told,) = run(made, [clock()])
    assert told.mode == "full" and told.triggers == ("mode full",)
    (told,) = run(made, [Control(level="CANCEL", who="ann", reason="news", at=at(64.0))])
    assert told.mode == "advisory"
    run(made, [ModeChange(to="full", who="ann", evidence="none", at=at(65.0))])
    assert made.mode == "advisory"  # not while a level is latched


def test_a_breach_is_a_refusal_and_the_last_target_stands() -> None:
    tight = replace(LOOSE, max_child_notional_usd=1.0)
    _, first = started(limits=tight)
    assert targets(first) == {"p1": 0.0, "p2": 0.0}
    assert first.refusals and all("RTS 6 Art. 15(1)(b)" in text for text in first.refusals)


def test_repeated_execution_pauses_until_a_named_person_looks() -> None:
    made, _ = started(limits=replace(LOOSE, max_decisions_without_review=2))
    told = run(made, [row for k in range(1, 5) for row in quotes(300.0 * k)])
    assert told[-1].level == "PAUSE" and made.level == "PAUSE"
    run(made, [Control(level="RUN", who="ann", reason="reviewed", at=at(1300.0))])
    assert made.level == "RUN"


def test_lowered_limits_hold_from_the_next_decision_and_raised_ones_wait() -> None:
    made, _ = started()
    run(made, [LimitsChange(limits=replace(LOOSE, max_child_adv=1e-9), at=at(63.0))])
    told = run(made, [*quotes(300.5), *quotes(310.0)])
    assert any("max_child_adv" in text for text in told[-1].refusals)
    made.apply(LimitsChange(limits=LOOSE, at=at(311.0)))
    assert "max_child_adv raised: that needs a restart" in made.skipped[0].why


# -- staleness, time -------------------------------------------------------------------------------


def test_old_data_go_amber_then_red_and_fresh_ones_earn_it_back() -> None:
    made, _ = started()
    run(made, [row for k in range(1, 3) for row in quotes(300.0 * k + 1)])
    assert made.guardrail.name == "green"
    run(made, [clock()])
    (amber,) = run(made, [clock(20.0)])
    (red,) = run(made, [clock(61.0)])
    assert (amber.guardrail, red.guardrail) == ("amber", "red")
    assert "guardrail amber to red: data_age_s 61" in red.triggers[0]
    run(made, [clock(0.0), *[row for k in range(3, 6) for row in quotes(300.0 * k + 1)]])
    assert made.guardrail.name == "amber"


def test_an_old_model_goes_amber_then_red() -> None:
    made, _ = started()
    assert [row.guardrail for row in run(made, [clock(0.0, 1.5)])] in ([], ["amber"])
    assert run(made, [clock(0.0, 2.5)])[0].guardrail == "red"


def test_a_quote_that_stands_still_makes_its_name_stale_while_others_tick() -> None:
    made, _ = started()
    run(made, [quote(s, 20.0 * k) for k in range(4, 20) for s in ("B", "C")])
    assert [name.stale for name in made.desk().names] == [True, False]  # C has no parent


def test_one_event_with_a_wrong_date_does_not_end_the_day_and_two_do() -> None:
    made, _ = started()
    wrong = quote("A", 40 * 86400.0, 50.0)
    run(made, [wrong, *quotes(70.0)])
    assert made.now < at(80.0) and made.book.quotes["A"].mid == 100.0
    run(made, [fill("f1", "p1", "A", 10.0, 40 * 86400.0), *quotes(75.0)])
    assert made.book.orders["p1"].filled == 10.0  # a fill is not lost for its clock
    run(made, [row for s in (86400.0, 86401.0) for row in quotes(s)])
    assert made.now >= at(86400.0) and not made.book.fills


ROWS = [
    *opening(),
    *[row for k in range(1, 9) for row in quotes(80.0 * k, 100.0 + 0.01 * k)],
    *[fill(f"f{k}", "p1", "A", 30.0, 80.0 * k + 0.2, venue_seq=k) for k in range(1, 9)],
    Regime(regime="stressed", at=at(333.0)), Cancel(parent="p2", at=at(411.0)),
]  # fmt: skip
NUMBERED = [
    msgspec.structs.replace(row, source="feed", seq=k)
    for k, row in enumerate(sorted(ROWS, key=lambda row: row.at))
]


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_the_order_of_arrival_within_the_window_changes_no_decision(seed: int) -> None:
    chance = random.Random(seed)
    arrived = [*NUMBERED, *chance.sample(NUMBERED, 10)]  # some twice
    when = {id(row): row.at + timedelta(seconds=chance.uniform(0, 0.49)) for row in NUMBERED}
    shuffled = sorted(arrived, key=lambda row: when[id(row)])
    assert run(session(), [*shuffled, *quotes(900.0)]) == run(
        session(), [*NUMBERED, *quotes(900.0)]
    )


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_whatever_happens_no_parent_is_asked_for_more_than_it_is(data) -> None:
    made, time = session(), 1.0
    run(made, [*opening(), clock()])
    filled = {"p1": 0.0, "p2": 0.0}
    for k in range(data.draw(st.integers(1, 25))):
        time += data.draw(st.floats(0.1, 200.0))
        name = data.draw(st.sampled_from(sorted(filled)))
        order = made.book.orders[name]
        # of these fills every decision knows; what is at the market may fill after a lower target
        before = {parent: known.filled for parent, known in made.book.orders.items()}
        what = data.draw(st.sampled_from(["fill", "quotes", "lost", "unknown", "pause", "reset"]))
        if what == "fill" and order.outstanding > 1:
            size = order.outstanding * data.draw(st.floats(0.1, 1.0))
            run(made, [fill(f"f{k}", name, order.told.symbol, size, time)])
        elif what == "lost":
            run(made, [OrderState(parent=name, status="rejected", at=at(time))])
        elif what == "unknown":
            run(made, [OrderState(parent=name, status="working", leaves=None, at=at(time))])
        elif what == "pause":
            run(made, [Control(level="PAUSE", who="a", reason="b", at=at(time))])
        elif what == "reset":
            run(made, [Control(level="RUN", who="a", reason="b", at=at(time))])
        told = run(made, quotes(time))
        for row in told:
            for asked in row.targets:
                size = {"p1": 9000.0, "p2": 6000.0}[asked.parent]
                assert -1e-6 <= asked.target <= size + 1e-6
                assert asked.target >= before[asked.parent] - 1e-6


def test_numbers_seen_take_no_room() -> None:
    seen = Seen()
    for number in range(100_000):
        seen.add(number ^ 1)
    assert 99_999 in seen and 100_000 not in seen and len(seen._beyond) <= 1


def test_memory_is_flat_over_a_simulated_week() -> None:
    made = session(reading_s=300.0, every_min=60.0, limits=Limits.read())
    for day in range(7):
        start = 86400.0 * day
        run(made, [Regime(regime="unknown", at=at(start)), *quotes(start + 1), *quotes(start + 2)])
        for k in range(1, 40):
            now, name = start + 600.0 * k, f"d{day}-{k}"
            run(made, [parent(name, "A", 100.0, now, deadline=at(now + 300.0))])
            run(made, [fill(f"f{name}", name, "A", 100.0, now + 1), *quotes(now + 2)])
        book = made.book
        assert len(book.orders) <= 39 and len(book.fills) <= 39 and len(book.buckets) <= 79
        assert len(made._intake) <= 3 and len(made._deciding.memory.sent) <= 39


# -- what a guardrail state allows -----------------------------------------------------------------


def test_amber_and_red_are_answered_by_the_regimes_own_lower_rungs() -> None:
    block = replace(desk.model(), gamma=0.5 * desk.model().gamma)
    made = session(replace(RELEASE, lower={"normal": {"sector_block": block}}))
    told = run(made, [*opening(), *quotes(62.0)])
    assert (told[-1].guardrail, told[-1].rung) == ("amber", "sector_block")
    told = run(made, [row for k in range(1, 14) for row in quotes(60.0 * k + 62.0)])
    assert (told[-1].guardrail, told[-1].rung) == ("green", "full")
    told = run(made, [clock(90.0), *quotes(1000.0), clock(90.0)])
    assert (told[-1].guardrail, told[-1].rung) == ("red", "self_only")
    assert "the guardrail allows self_only" in told[-1].why


def in_flight(wait_s: float) -> list[Event]:
    """An hour of prints adverse to a buyer every ten seconds, own fills in between, and one more
    adverse print so long after each."""
    rows: list[Event] = [*opening()]
    for k in range(360):
        rows.append(Print(symbol="A", price=100.0 + 0.01 * k, at=at(3.0 + 10.0 * k)))
        if k % 4 == 3 and k > 120:
            rows.append(fill(f"f{k}", "p1", "A", 1.0, 7.0 + 10.0 * k))
            price = 100.005 + 0.01 * k
            rows.append(Print(symbol="A", price=99.0, own=True, at=at(7.0 + 10.0 * k)))
            rows.append(Print(symbol="A", price=price, at=at(7.0 + 10.0 * k + wait_s)))
        if k % 6 == 0:
            rows += quotes(10.0 * k + 9.0)
    return rows


def test_own_fills_that_move_the_market_make_the_session_amber() -> None:
    made = session(stale_s=1e6)
    told = run(made, in_flight(0.05))
    whys = [why for row in told for why in row.triggers if "in_flight" in why]
    assert whys[0].startswith("guardrail green to amber: in_flight")
    assert made.guardrail.name == "amber"  # at most
    calm = session(stale_s=1e6)
    told = run(calm, in_flight(2.9))
    assert not [why for row in told for why in row.triggers if "in_flight" in why]
    assert calm.reading.in_flight is not None
    without = [row for row in in_flight(0.05) if not isinstance(row, Print)]
    untold = session(stale_s=1e6)
    assert run(untold, without) and untold.reading.in_flight is None
