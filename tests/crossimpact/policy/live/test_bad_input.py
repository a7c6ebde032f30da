"""What a desk may be told that is wrong, and the test of each; a row without one fails here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from crossimpact.policy.live.events import OrderState, Status
from tests.crossimpact.policy.live.desk import (
    at,
    fill,
    opening,
    parent,
    quotes,
    run,
    session,
    targets,
)
from tests.crossimpact.policy.live.test_session import SKIPPED

ROOT = Path(__file__).parents[4]
STATES = "tests/crossimpact/policy/scheduling/test_schedule.py"
SESSION = "tests/crossimpact/policy/live/test_session.py"
HERE = "tests/crossimpact/policy/live/test_bad_input.py"
ENGINE = "tests/pipelines/live/test_engine.py"
LOOP = "tests/pipelines/live/test_loop.py"
FULL = "tests/pipelines/live/test_exhaustion.py"
LIMITS = "tests/crossimpact/policy/test_limits.py"
#: What is wrong: the tests of it, `file::function`; rows of `SKIPPED` by their own names.
BAD_INPUT = {
    "NaN or negative caps": (
        f"{STATES}::test_a_wrong_state_is_refused_by_the_fields_name",
        f"{LIMITS}::test_a_wrong_limits_file_is_refused_by_its_word",
        f"{SESSION}::test_a_line_that_is_no_event_is_refused_by_its_field",
    ),
    "unknown symbols": (
        f"{STATES}::test_a_name_the_model_does_not_know_is_left_alone_and_said",
        f"{HERE}::test_a_parent_of_a_name_that_is_never_quoted_asks_for_nothing",
        "fill of another symbol",
    ),
    "crossed quotes": (
        f"{STATES}::test_a_name_with_a_broken_market_rests_and_the_others_trade",
        f"{SESSION}::test_a_name_that_may_not_trade_keeps_its_last_target",
        "crossed quotes",
    ),
    "halted or delisted": (
        f"{STATES}::test_a_name_with_a_broken_market_rests_and_the_others_trade",
        f"{SESSION}::test_halt_and_resume_are_decided_at_once",
        f"{HERE}::test_a_name_delisted_with_orders_at_the_market_is_outstanding",
    ),
    "zero or missing volume": (
        f"{STATES}::test_a_name_with_a_broken_market_rests_and_the_others_trade",
        f"{SESSION}::test_a_name_that_may_not_trade_keeps_its_last_target",
    ),
    "a model for another universe": (
        f"{STATES}::test_a_model_of_another_universe_does_not_answer",
        f"{SESSION}::test_a_model_of_another_universe_is_not_used",
    ),
    "a clock going back": (
        "a clock going back",
        f"{SESSION}::test_one_event_with_a_wrong_date_does_not_end_the_day_and_two_do",
    ),
    "duplicates": (
        "a duplicate",
        "a fill twice",
        f"{ENGINE}::test_sending_everything_again_asks_for_nothing_twice",
    ),
    "late events": (f"{SESSION}::test_a_late_fill_counts_and_a_late_quote_does_not",),
    "out-of-order events": (
        f"{SESSION}::test_the_order_of_arrival_within_the_window_changes_no_decision",
    ),
    "a half-written line": (
        f"{LOOP}::test_a_file_is_read_as_it_grows_half_lines_wait_and_places_are_kept",
        f"{ENGINE}::test_a_journal_cut_at_any_byte_ends_as_the_uninterrupted_one",
    ),
    "a fill for an unknown order": (
        "fill of an unknown order",
        f"{SESSION}::test_a_fill_of_nobody_is_settled_by_a_snapshot_of_all_that_is_open",
    ),
    "overfill": ("overfill", f"{STATES}::test_a_parent_that_is_done_rests"),
    "cancel in flight": (
        f"{SESSION}::test_a_cancelled_parent_is_outstanding_until_it_is_terminal",
        f"{HERE}::test_a_fill_that_crosses_its_cancel_counts_and_nothing_is_asked_for_again",
    ),
    "corrections and busts": (
        f"{SESSION}::test_corrections_and_busts_leave_what_was_really_filled",
        "bust of an unknown fill",
        "correction without reference",
    ),
    "journal truncated": (
        f"{ENGINE}::test_a_journal_cut_at_any_byte_ends_as_the_uninterrupted_one",
    ),
    "journal tampered with": (f"{ENGINE}::test_what_was_tampered_with_is_refused_by_its_line",),
    "disk full": (
        f"{ENGINE}::test_a_full_disk_keeps_decisions_back_and_nothing_is_lost",
        f"{FULL}::test_a_full_disk_pauses_the_session_and_loses_nothing",
    ),
    "registry down at start": (
        f"{SESSION}::test_without_a_release_a_fixed_share_answers_and_says_why",
        f"{LOOP}::test_levels_by_signal_modes_by_file_a_feed_that_ends_and_a_seal",
    ),
    "registry down in the middle": (
        "tests/registry/test_live_loop.py"
        "::test_a_registry_that_goes_away_in_a_session_leaves_the_last_release_standing",
    ),
    "Redis restarting": (
        f"{LOOP}::test_a_stream_is_acknowledged_after_the_disk_and_redis_may_restart",
    ),
    "SIGSTOP": (
        f"{LOOP}::test_a_hung_loop_is_killed_by_a_file_latched_and_gone_on_with",
        f"{LOOP}::test_the_watchdog_kills_a_loop_that_finishes_no_turn",
    ),
}


@pytest.mark.parametrize("what", BAD_INPUT)
def test_every_bad_input_has_its_test(what: str) -> None:
    for test in BAD_INPUT[what]:
        file, _, function = test.partition("::")
        if not function:
            assert test in SKIPPED
            continue
        made = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
        assert function in {row.name for row in made if isinstance(row, ast.FunctionDef)}, test


def test_a_parent_of_a_name_that_is_never_quoted_asks_for_nothing() -> None:
    made = session()
    told = run(made, [*opening(), parent("p3", "NOBODY", 500.0, 2.0), *quotes(62.0)])
    told += run(made, [*quotes(300.5), *quotes(310.0)])
    assert told[-1].level == "RUN" and targets(told[-1])["p1"] > 0
    assert targets(told[-1]).get("p3", 0.0) == 0.0 and "p3" not in told[-1].outstanding


def test_a_name_delisted_with_orders_at_the_market_is_outstanding() -> None:
    made = session()
    (first,) = run(made, [*opening(), *quotes(62.0)])[-1:]
    asked = targets(first)
    gone = Status(symbol="A", status="delisted", at=at(70.0))
    told = run(made, [gone, *quotes(300.5), *quotes(310.0)])
    assert told[-1].outstanding["p1"] == asked["p1"] == targets(told[-1])["p1"]
    over = OrderState(parent="p1", status="expired", leaves=0.0, at=at(311.0))
    told = run(made, [over, *quotes(600.5), *quotes(610.0)])
    assert "p1" not in told[-1].outstanding and targets(told[-1])["p1"] == 0.0


def test_a_fill_that_crosses_its_cancel_counts_and_nothing_is_asked_for_again() -> None:
    """The order system has the cancel pending, the market fills, and the cancel is confirmed for
    the rest."""
    made = session()
    (first,) = run(made, [*opening(), *quotes(62.0)])[-1:]
    asked = targets(first)["p1"]
    pending = OrderState(parent="p1", status="pending_cancel", leaves=asked, at=at(63.0))
    run(made, [pending, fill("f1", "p1", "A", 0.6 * asked, 63.1), *quotes(64.0)])
    order = made.book.orders["p1"]
    assert order.filled == 0.6 * asked and order.outstanding == pytest.approx(0.4 * asked)
    rest = OrderState(parent="p1", status="cancelled", leaves=0.0, at=at(65.0))
    told = run(made, [rest, *quotes(300.5), *quotes(310.0)])
    assert 0.6 * asked <= targets(told[-1])["p1"] <= 9000.0
    assert order.filled == 0.6 * asked
