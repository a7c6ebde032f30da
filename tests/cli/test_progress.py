"""`stages`: something is said at once, on stderr only; lines in a pipe, bars on a terminal."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from cli.progress import stages
from crossimpact.progress import each, tell


def work() -> list[str]:
    tell("read", "two files")
    return list(each("validate", ("2026-03-02", "2026-03-03")))


def test_stages_are_lines_where_nobody_watches(capsys):
    with stages("refit"):
        out, err = capsys.readouterr()
        assert (out, err) == ("", "refit\n")  # before anything was imported or done
        assert work() == ["2026-03-02", "2026-03-03"]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "read two files", "validate 1/2 2026-03-02", "validate 2/2 2026-03-03",
    ]  # fmt: skip


def test_stages_are_bars_on_a_terminal(monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    with stages("refit"):
        assert "refit" in sys.stderr.getvalue()
        work()
    shown = sys.stderr.getvalue()
    last = shown[shown.rindex("refit") :]
    assert "validate" in last and "2/2" in last and "read" in last
    assert capsys.readouterr().out == ""


def test_stages_leave_the_logger_as_it_was_also_after_an_error(capsys):
    log = logging.getLogger("crossimpact")
    before = list(log.handlers), log.level, log.propagate
    with pytest.raises(ZeroDivisionError), stages("refit"):
        _ = 1 / 0
    assert (list(log.handlers), log.level, log.propagate) == before
    tell("afterwards")
    assert "afterwards" not in capsys.readouterr().err


def test_tell_is_a_plain_log_line_for_a_scheduler(caplog):
    with caplog.at_level(logging.INFO, "crossimpact"):
        work()
    assert caplog.messages[-1] == "validate 2/2 2026-03-03"


def test_stages_print_no_control_characters(capsys):
    with stages("validate"):
        tell("read", "\x1b[2J.parquet")
    assert "\x1b" not in capsys.readouterr().err
