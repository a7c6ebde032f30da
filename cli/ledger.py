"""`crossimpact ledger`: who changed what is live, and whether the record is whole."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from cli import console
from cli.options import Home, Json, known_home

app = typer.Typer(help="The append-only record of promotions; by itself, `show`.")


@app.callback(invoke_without_command=True)
def ledger(context: typer.Context, home: Home = None, json_: Json = False) -> None:
    """The append-only record of promotions; by itself, `show`."""
    context.obj = home, json_
    if context.invoked_subcommand is None:
        _show(home, json_)


@app.command()
def show(context: typer.Context, home: Home = None, json_: Json = False) -> None:
    """Who changed what is live, when and why: every line, oldest first."""
    given, as_json = context.obj
    _show(home or given, json_ or as_json)


@app.command()
def verify(context: typer.Context, home: Home = None, json_: Json = False) -> None:
    """Check the chain; names the first bad line."""
    from pipelines import release as step

    given, as_json = context.obj
    verdict = step.ledger_verify(known_home(home or given)).to_dict()
    console.show(verdict, as_json=json_ or as_json)
    sys.exit(0 if verdict["ok"] else 1)


def _show(home: Path | None, as_json: bool) -> None:
    place = known_home(home)
    from pipelines import release as step

    book = step.ledger_lines(place)
    if not as_json:
        for line in book["ledger"]:
            line["when"] = line["when"][:19]
    console.show(book, as_json=as_json)
