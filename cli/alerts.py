"""`crossimpact alerts`: what waits for people, and sending it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from cli.console import show
from cli.options import Home, Json, known_home, now

app = typer.Typer(no_args_is_help=True)


@app.command()
def send(home: Home = None, json_: Json = False) -> None:
    """Send what waits and may leave, remind of approvals (exit 1 when a channel fails)."""
    place = known_home(home)
    from pipelines.alerts import outbox

    sent = outbox.send(place, now())
    show(asdict(sent), as_json=json_)
    sys.exit(1 if sent.failed else 0)


@app.command("test")
def try_out(
    text: Annotated[str, typer.Option(help="What it says")] = "a test, nothing is wrong",
    home: Home = None,
    json_: Json = False,
) -> None:
    """Tell every channel that hears of stages that this is a test."""
    place = known_home(home)
    from pipelines.alerts import outbox
    from pipelines.alerts.message import Message

    outbox.add(place, Message("stage", "critical", "Test of the alerts", text, "", now()))
    show(asdict(outbox.send(place, now())), as_json=json_)
