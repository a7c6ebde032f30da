"""`console`: what people read fits 80 columns, keeps names and numbers whole, and cannot act."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import console, views
from crossimpact.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
DIGEST = "501686fe971248425da4a5fd8c169353fa7ec281b013f7c20193949a33e76798"
GATES = [
    "contract", "reproducible", "regime_coverage", "psd_margin", "no_round_trip",
    "condition_number", "capped_share", "beats_self_only", "beats_placebo", "edge_turnover",
]  # fmt: skip


@pytest.fixture
def printed(capsys, monkeypatch):
    """The lines that `show` prints on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def lines(data) -> list[str]:
        console.show(data, as_json=False)
        return capsys.readouterr().out.splitlines()

    return lines


def ledger(reason: str = "moved by hand, twice, with a long story behind it " * 3) -> dict:
    line = {
        "when": "2026-03-27T14:30:00", "action": "promote", "who": "somebody.with.a.long.name",
        "release": DIGEST[:12], "rungs": "normal to self_only, stressed to fixed_pov",
        "why": reason, "approver": "another.one",
    }  # fmt: skip
    return {"ledger": [line, {**line, "why": "", "approver": ""}]}


def gates() -> dict:
    return {
        "release": DIGEST[:12],
        "gates": [
            {"gate": gate, "regime": regime, "value": 0.05543, "direction": "at_least",
             "limit": 1e4, "verdict": verdict, "note": "self_only: no cross terms to judge" * bad}
            for gate in GATES
            for regime, verdict, bad in (("normal", "pass", 0), ("stressed", "skipped", 1))
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [ledger(), gates(), views.gated(gates()), {"digest": DIGEST, "regimes": gates()["gates"]}],
)
def test_show_fits_80_columns_and_keeps_every_word_whole(printed, data):
    lines = printed(data)
    assert max(map(len, lines)) <= 80
    found = set(" ".join(lines).split())
    whole = {word for text in texts(data) for word in text.split()}
    assert whole <= found, whole - found


def texts(data) -> list[str]:
    if isinstance(data, dict):
        return [text for value in data.values() for text in texts(value)]
    if isinstance(data, list):
        return [text for value in data for text in texts(value)]
    return [data] if isinstance(data, str) else []


def test_show_turns_a_table_that_is_too_wide_into_records(printed):
    lines = printed(ledger("short"))
    assert "  when      2026-03-27T14:30:00" in lines
    assert f"  release   {DIGEST[:12]}" in lines


def test_show_tells_prose_below_its_table(printed):
    rows = [
        {"regime": name, "rung": "self_only", "pairs": 3, "reason": "no verdict " * 9}
        for name in ("normal", "stressed")
    ]
    lines = printed({"regimes": rows})
    assert any(line.split() == ["normal", "self_only", "3"] for line in lines)
    assert any(line.startswith("  normal self_only: no verdict") for line in lines)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("cost", 76720.4, "76,720"),
        ("cost", 7.672e12, "7,672,000,000,000"),
        ("total_usd", 1456732.418, "1,456,732.42"),
        ("usd", -0.5, "-0.50"),
        ("gamma_bps", 12.3456, "12.35"),
        ("r2", 0.379421, "0.3794"),
        ("buckets", 310.0, "310"),
        ("limit", 10000.0, "10,000"),
        ("residual", 1.2345e-16, "1.2e-16"),
        ("value", float("nan"), "nan"),
    ],
)
def test_number_counts_money_bps_and_no_exponents(name, value, text):
    assert console.cell(value, name) == text


@given(st.floats(1e-4, 1e15))
def test_number_has_no_exponent_where_a_person_counts(value):
    assert "e" not in console.number(value) and "e" not in console.number(-value, "x_usd")


@given(st.text())
def test_plain_leaves_nothing_that_moves_a_terminal(text):
    shown = console.plain(text)
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)
    assert not console.BIDI & set(shown)
    assert shown == text or shown != text.strip("")


def test_plain_shows_what_it_took_out():
    assert console.plain("a\x1b[2Jb\r\nc\u202ed") == "a\\x1b[2Jb\\r\\nc\\u202ed"
    assert console.plain("half \ud83d") == "half \\ud83d"


def test_show_and_fail_print_no_control_characters(printed, capsys):
    evil = "\x1b]0;owned\x07\x1b[2J"
    lines = printed({evil: evil, "rows": [{evil: evil, "why": f"long {evil} story " * 9}]})
    console.fail(UsageError(f"no file {evil}", evil), as_json=False)
    shown = "\n".join(lines) + capsys.readouterr().err
    assert "\x1b" not in shown and "\x07" not in shown and "\\x1b[2J" in shown


def test_show_as_json_is_one_line_and_says_all(capsys):
    console.show({"a": "\x1b", "b": [1.5, None]}, as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert "\x1b" not in line and json.loads(line) == {"a": "\x1b", "b": [1.5, None]}


def test_show_into_a_pipe_nobody_reads_is_no_error():
    """`| head` ends the reader first; the command's own exit code stands."""
    code = "import time; from cli import console; time.sleep(1); console.show({'a': 'x' * 99999}, as_json=True); raise SystemExit(5)"  # noqa: E501
    job = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    job.stdout.close()
    assert (job.stderr.read(), job.wait()) == (b"", 5)


def test_refitted_prints_a_table_not_thirty_metrics(printed):
    metrics = {f"metric_{n}": 0.1 for n in range(30)}
    normal = metrics | {
        "rung": "full", "reason": "", "buckets": 1109.0, "edges": 45.0, "condition_number": 26.64,
        "oos_r2_self_only": 0.3239, "oos_r2_shipped": 0.3794, "oos_r2_placebo": 0.332,
    }  # fmt: skip
    lines = printed(
        views.refitted({
            "release": DIGEST[:12], "digest": DIGEST, "version": 1, "as_of": "2026-03-27",
            "flow": "own", "window": {"first": "2026-03-02", "last": "2026-03-27", "dates": 20},
            "regimes": {"normal": normal, "unknown": {"rung": "fixed_pov", "reason": "no label"}},
            "contract": {"verdict": "ok", "rules": {"child_fills": {"fill_near_mid": 3}},
                         "tables": {"child_fills": {"landed": 50487, "accepted": 50469}}},
            "unplaced": {"fills": 12, "usd": 34567.0}, "stages": {"fit": 1.5},
        })
    )  # fmt: skip
    assert max(map(len, lines)) <= 80 and not any("metric_" in line for line in lines)
    row = next(line.split() for line in lines if line.startswith("normal"))
    assert row == ["normal", "full", "1,109", "45", "26.64", "32.39%", "37.94%", "33.20%"]
    assert "unplaced  12 fills, 34,567.00 USD, in no bucket" in lines
