"""Logs in JSON: any message is one line that parses, and says what is known of the work."""

from __future__ import annotations

import io
import json
import logging
import sys
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossimpact import json_log
from crossimpact.json_log import JsonLines, Wrapped, begin, bound, current, know
from crossimpact.progress import LOG, each

ANY = st.text(st.characters(codec=None)) | st.text(
    "\r\n\x00\x0b\x1b\u0085\u2028\u2029\ud800\udfff'\"\\{}%s"
)
#: What Python, JSON lines' readers and terminals take for the end of a line.
ENDS = "\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


def told(record: logging.LogRecord) -> dict[str, Any]:
    """The record's line, parsed."""
    line = JsonLines().format(record)
    assert line.isascii() and line.isprintable() and not set(line) & set(ENDS)
    body: dict[str, Any] = json.loads(line)
    assert list(body)[:4] == ["time", "level", "logger", "message"]
    assert datetime.fromisoformat(body["time"]).tzinfo is not None
    return body


def whole(text: str) -> str:
    """Half a character is shown by its number, as strict readers of JSON want it."""
    return text.encode("utf-8", "backslashreplace").decode()


def record(message: object, *args: object, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("crossimpact.x", logging.INFO, "f.py", 1, message, args, None)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@given(ANY, ANY)
def test_any_message_is_one_line_that_parses_to_it(message, argument):
    assert told(record("%s: %s", message, argument))["message"] == whole(f"{message}: {argument}")
    assert told(record(message.replace("%", "")))["message"] == whole(message.replace("%", ""))


@given(ANY)
def test_any_exception_is_on_the_same_line(message):
    try:
        raise ValueError(message)
    except ValueError:
        body = told(record("failed", exc_info=sys.exc_info()))
    assert body["message"] == "failed"
    assert body["exception"].startswith("Traceback") and "ValueError" in body["exception"]


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("message", "args"),
    [("%d rows", ("three",)), ("%s and %s", ("one",)), ("%s", (Broken(),)), (Broken(), ())],
)
def test_a_message_that_cannot_be_put_together_is_told_all_the_same(message, args):
    assert told(record(message, *args))["message"]


@given(ANY, st.floats() | st.integers() | st.binary())
def test_fields_that_json_cannot_hold_are_told_as_text(partition, total):
    body = told(record("x", partition=partition, total=total))
    assert body.get("partition", "") == whole(partition)
    assert ("total" in body) is bool(total)


def test_a_line_carries_what_the_scopes_around_it_know():
    with bound(run_id="r1"):
        assert told(record("x"))["run_id"] == "r1"
        with bound(partition="2026-02-09"):
            know(release="abc")
            body = told(record("x"))
            assert (body["run_id"], body["partition"], body["release"]) == (
                "r1",
                "2026-02-09",
                "abc",
            )
        assert current() == {"run_id": "r1"}
    assert current() == {}
    know(release="nobody is told")
    assert "release" not in told(record("x"))


def test_pieces_of_a_stage_are_partitions(caplog):
    seen = []
    with caplog.at_level("INFO", "crossimpact"), bound(run_id="r"):
        for _ in each("validate", ["2026-02-09", "2026-02-10"]):
            seen.append(dict(current()))
    assert [scope["partition"] for scope in seen] == ["2026-02-09", "2026-02-10"]
    assert "partition" not in current()
    body = told(caplog.records[-1])
    assert (body["stage"], body["done"], body["total"]) == ("validate", 2, 2)


def test_an_orchestrators_logger_is_told_of_each_change():
    told_of: list[dict[str, str]] = []

    def run() -> None:
        begin(lambda known: told_of.append(dict(known)), partition="2026-02-09")
        know(release="abc")
        with bound(partition="2026-02-10"):
            pass

    import contextvars

    contextvars.copy_context().run(run)
    assert told_of == [
        {"partition": "2026-02-09"},
        {"partition": "2026-02-09", "release": "abc"},
        {"partition": "2026-02-10", "release": "abc"},
        {"partition": "2026-02-09", "release": "abc"},
    ]


@given(st.lists(ANY))
def test_whatever_is_written_to_the_wrapped_stream_comes_out_as_json_lines(texts):
    out = io.StringIO()
    stream = Wrapped(out, lambda: 0.0)
    for text in texts:
        stream.write(text)
    stream.end()
    lines = [json.loads(line)["message"] for line in out.getvalue().split("\n")[:-1]]
    written = [line.rstrip() for line in "".join(texts).split("\n")]
    assert lines == [whole(line) for line in written if line]


def test_install_logs_ours_from_info_and_others_from_warning():
    root, level = logging.getLogger(), LOG.level
    before, of_root = root.handlers[:], root.level
    out = io.StringIO()
    try:
        json_log.install(out, lambda: 0.0)
        LOG.info("ours")
        logging.getLogger("urllib3").info("chatter")
        logging.getLogger("urllib3").warning("theirs")
    finally:
        root.handlers[:] = before
        root.setLevel(of_root)
        LOG.setLevel(level)
        logging.captureWarnings(False)
    assert [json.loads(line)["message"] for line in out.getvalue().splitlines()] == [
        "ours",
        "theirs",
    ]
