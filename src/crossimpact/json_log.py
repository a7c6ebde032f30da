"""Logs for machines: one JSON object a line, with what is known of the work a line speaks of.

`bound` opens a scope in which lines carry a run, a release or a partition; whoever learns of one on
the way adds it to the innermost scope with `know`. A scope is of its thread, and of what it calls.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

#: What a scope may know, and what a line may carry besides.
KNOWN = ("run_id", "release", "partition")
COUNTED = ("stage", "done", "total")
#: Chosen by `CROSSIMPACT_LOG_FORMAT=json`.
VARIABLE = "CROSSIMPACT_LOG_FORMAT"

Observer = Callable[[Mapping[str, str]], None]
_SCOPE: ContextVar[dict[str, str] | None] = ContextVar("crossimpact_log_scope", default=None)
_OBSERVER: ContextVar[Observer | None] = ContextVar("crossimpact_log_observer", default=None)


@contextmanager
def bound(**known: str) -> Iterator[None]:
    """Lines logged inside carry `known` (of `KNOWN`), besides what the scope around it knows."""
    before = _SCOPE.get()
    _SCOPE.set({**(before or {}), **known})
    _observe()
    try:
        yield
    finally:  # not by a token: a generator may be closed in another context than it began in
        _SCOPE.set(before)
        _observe()


def know(**known: str) -> None:
    """Add to the innermost scope; nothing where none is open."""
    scope = _SCOPE.get()
    if scope is not None:
        scope.update(known)
        _observe()


def begin(observer: Observer, **known: str) -> None:
    """Open a scope that ends with its process or the next `begin`, and is told to `observer`.

    For an orchestrator's task, whose lines another logger writes.
    """
    _SCOPE.set(dict(known))
    _OBSERVER.set(observer)
    _observe()


def current() -> Mapping[str, str]:
    """What the innermost scope knows."""
    return dict(_SCOPE.get() or {})


def _observe() -> None:
    if observer := _OBSERVER.get():
        observer(current())


class JsonLines(logging.Formatter):
    """A record as one JSON object on one line, whatever is in it."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {
            name: value for name in (*KNOWN, *COUNTED) if (value := getattr(record, name, None))
        }
        body: dict[str, Any] = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            **current(),
            **extra,
        }
        if record.exc_info and record.exc_info[0]:
            body["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            body["stack"] = record.stack_info
        return _line(body)


class Wrapped(io.TextIOBase):
    """A stream for text that is no log: every line written to it is told as a JSON object."""

    def __init__(self, stream: TextIO, now: Callable[[], float]) -> None:
        self._stream, self._now, self._rest = stream, now, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in filter(None, (line.rstrip() for line in lines)):
            self._tell(line)
        return len(text)

    def flush(self) -> None:
        if not self.closed:
            self._stream.flush()

    def end(self) -> None:
        """Tell what no newline has ended."""
        if rest := self._rest.rstrip():
            self._tell(rest)
        self._rest = ""
        self.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._stream.fileno()

    def _tell(self, line: str) -> None:
        level = "error" if line.startswith("error") else "warning"
        body = {"time": _time(self._now()), "level": level, "logger": "stderr", "message": line}
        self._stream.write(_line(body | dict(current())) + "\n")
        self._stream.flush()


def install(stream: TextIO, now: Callable[[], float]) -> Wrapped:
    """Log to `stream` in JSON: ours from INFO, others' from WARNING; what else is to be written
    there goes through the result."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("crossimpact").setLevel(logging.INFO)
    logging.captureWarnings(True)
    return Wrapped(stream, now)


def _message(record: logging.LogRecord) -> str:
    try:
        return str(record.getMessage())
    except Exception as error:  # a line that cannot be put together is still told
        return f"{record.msg!r} % {record.args!r} ({error!r})"


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


def _line(body: Mapping[str, Any]) -> str:
    """ASCII alone, so that no newline of any alphabet breaks a line; half a character, which strict
    readers refuse, is shown by its number."""
    whole = {k: _whole(v) if isinstance(v, str) else v for k, v in body.items()}
    try:
        return json.dumps(whole, allow_nan=False, default=repr)
    except ValueError:
        return json.dumps({k: v if isinstance(v, str) else repr(v) for k, v in whole.items()})


def _whole(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
