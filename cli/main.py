"""The command line. Each command parses its words, calls one `pipelines` function and prints it.

Exit codes: 0 ok, 1 error, 2 usage, 3 contract violation, 4 gate refused, 5 stale model.
"""

from __future__ import annotations

import atexit
import io
import os
import sys
from typing import Annotated

import typer

from cli import console, data, export, ingest, ledger, orders, release
from cli.options import Home, Json, now
from crossimpact import __version__
from crossimpact.errors import CrossImpactError
from pipelines.config import default_home, keep_private

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
    if isinstance(sys.stdout, io.TextIOWrapper):  # whatever a terminal has no character for
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except CrossImpactError as error:
        sys.exit(console.fail(error, as_json=as_json))
    except OSError as error:
        sys.exit(console.fail(CrossImpactError(f"{error}"), as_json=as_json))


def _silence_exit() -> None:
    """DuckDB's bindings list their leaks on stderr when Python ends; nobody can act on them."""
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

    place = home.resolve() if home else default_home()
    size = {"symbols": symbols, "days": days, "seed": seed}
    sys.exit(job.run(place, size, now().date(), as_json=json_))


# Help lists what is added, in this order.
for commands in (data.app, release.app):
    app.add_typer(commands)
app.add_typer(ingest.app, name="ingest", rich_help_panel=data.DATA)
app.add_typer(ledger.app, name="ledger", rich_help_panel=data.MODEL)
app.add_typer(orders.app)
app.add_typer(export.app, name="export", rich_help_panel=data.MEASURE)
app.add_typer(about)


if __name__ == "__main__":
    main()
