"""The command line. Each command parses its words, calls one `pipelines` function and prints it.

Exit codes: 0 ok, 1 error, 2 usage, 3 contract violation, 4 gate refused, 5 stale model.
"""

from __future__ import annotations

import atexit
import errno
import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TextIO, cast

import typer

from cli import (
    alerts,
    audit,
    console,
    data,
    doctor,
    export,
    ingest,
    ledger,
    live,
    metrics,
    orders,
    pretrade,
    release,
    retention,
    rollout,
    schedule,
    shadow,
    tca,
)
from cli.options import Home, Json, now, run_id
from cli.progress import json_lines
from crossimpact import __version__, json_log
from crossimpact.errors import CrossImpactError
from crossimpact.progress import LOG
from pipelines.store.settings import default_home, home_at, keep_private

ABOUT = "About"
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="crossimpact: measure how trading A moves B, keep it honest, act on it.",
    epilog="Exit codes: 0 ok, 1 error, 2 usage, 3 contract violation, 4 gate refused, 5 stale.",
)
about = typer.Typer()


def main() -> None:
    """Entry point: a user's mistake is one line and an exit code, never a traceback."""
    as_json = "--json" in sys.argv
    atexit.register(_silence_exit)
    keep_private()
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        sys.stdout = _patient(sys.stdout.encoding, sys.stdout.isatty())
    with _explained(as_json):
        lines = json_lines()
    with _logs(lines), _explained(as_json):
        app()


@contextmanager
def _explained(as_json: bool) -> Iterator[None]:
    """A failure inside is a line on stderr and an exit code."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except CrossImpactError as error:
        sys.exit(console.fail(error, as_json=as_json))
    except OSError as error:
        sys.exit(console.fail(_told(error), as_json=as_json))


@contextmanager
def _logs(lines: bool) -> Iterator[None]:
    """Where `lines` of JSON are asked for, stderr holds nothing else, and each names this run."""
    if not lines:
        yield
        return
    run = run_id()
    real, wrapped = sys.stderr, json_log.install(sys.stderr, time.time)
    sys.stderr = cast(TextIO, wrapped)
    with json_log.bound(run_id=run):
        try:
            yield
        except Exception as error:
            LOG.critical("%s", error or type(error).__name__, exc_info=True)
            sys.exit(1)
        finally:
            wrapped.end()
            sys.stderr = real


class _Pipe(io.FileIO):
    """Standard output, whose reader may go away (`| head`): it has read enough."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content) or 0
        except BrokenPipeError:
            return len(content)


def _patient(encoding: str, by_line: bool) -> TextIO:
    """Standard output that shows a character it has not by its number."""
    stream = io.BufferedWriter(_Pipe(1, "wb", closefd=False))
    return io.TextIOWrapper(stream, encoding, "backslashreplace", line_buffering=by_line)


def _told(error: OSError) -> CrossImpactError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return CrossImpactError(f"{error}", "free some space and try again" if full else "")


def _silence_exit() -> None:
    """What cannot be written was told; DuckDB's bindings list their leaks on stderr when Python
    ends, and nobody can act on them."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def crossimpact(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """crossimpact: measure how trading A moves B, keep it honest, act on it."""


@about.command(rich_help_panel=ABOUT)
def version(json_: Json = False) -> None:
    """Print the version."""
    if json_:
        console.show({"version": __version__}, as_json=True)
    else:
        print(__version__)


@about.command(rich_help_panel=ABOUT)
def demo(
    home: Home = None, symbols: int = 20, days: int = 20, seed: int = 7, json_: Json = False
) -> None:
    """The main job on a simulated desk, through the very DAGs a scheduler runs."""
    from ops import demo as job

    place = home_at(home) if home else default_home()
    size = {"symbols": symbols, "days": days, "seed": seed}
    sys.exit(job.run(place, size, now().date(), as_json=json_))


# Help lists what is added, in this order.
for commands in (data.app, release.app):
    app.add_typer(commands)
app.add_typer(audit.app, name="audit", rich_help_panel=data.DATA)
app.add_typer(ingest.app, name="ingest", rich_help_panel=data.DATA)
app.add_typer(ledger.app, name="ledger", rich_help_panel=data.MODEL)
app.add_typer(pretrade.app)
app.add_typer(orders.app)
app.add_typer(live.app, name="live", rich_help_panel="Orders")
app.add_typer(live.about_orders)
app.add_typer(rollout.app, name="rollout", rich_help_panel="Orders")
app.add_typer(schedule.app)
app.add_typer(tca.app, name="tca", rich_help_panel=data.MEASURE)
app.add_typer(shadow.app)
app.add_typer(export.app, name="export", rich_help_panel=data.MEASURE)
app.add_typer(doctor.app)
app.add_typer(retention.app)
app.add_typer(metrics.app, name="metrics", rich_help_panel="Operation")
app.add_typer(alerts.app, name="alerts", rich_help_panel="Operation")
app.add_typer(about)


if __name__ == "__main__":
    main()
