"""`crossimpact rollout`: from shadow to all of the flow, by evidence and a second person."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import views, views_rollout
from cli.console import show
from cli.options import Date, Home, Json, Reason, approver_password, known_home, now, who
from cli.options import date as parse_date
from crossimpact.errors import GateRefused, StaleModel

app = typer.Typer(no_args_is_help=True)


@app.command()
def start(
    reason: Reason = "",
    approver: Annotated[str, typer.Option(help="Second person, for a stage up")] = "",
    home: Home = None,
    json_: Json = False,
) -> None:
    """Begin a rollout of the champion, or go one stage up (exit 4 when a gate refuses)."""
    place = known_home(home)
    from pipelines.approval import Signature, by_login
    from pipelines.rollout import notices, steps

    signed = Signature(who(), reason, approver, "name")
    if approver:
        signed = by_login(place.mlflow_uri, signed, lambda: approver_password(approver))
    try:
        moved = steps.start(place, signed=signed, now=now)
    except GateRefused as refusal:
        notices.refused(place, refusal, now())
        if not json_:  # as JSON the rows go with the error
            show(views.gated(refusal.report), as_json=False)
        raise
    notices.moved(place, moved, now())
    result = moved.to_dict()
    show(result if json_ else views.gated(result), as_json=json_)


@app.command()
def status(home: Home = None, json_: Json = False) -> None:
    """Stage, evidence with its power, and what every gate says (exit 4: a stop gate fails)."""
    place = known_home(home)
    from pipelines.rollout import steps

    found = steps.status(place, now=now())
    result = found.to_dict()
    show(result if json_ else views_rollout.status(result), as_json=json_)
    sys.exit(4 if any(row.verdict == "fail" for row in found.stop) else 0)


@app.command()
def stop(reason: Reason = "", home: Home = None, json_: Json = False) -> None:
    """End the rollout at once; your name and the reason go on record."""
    place = known_home(home)
    from pipelines.rollout import notices, steps

    moved = steps.stop(place, who=who(), reason=reason, now=now())
    notices.moved(place, moved, now())
    show(moved.to_dict(), as_json=json_)


@app.command()
def commit(date: Date = None, home: Home = None, json_: Json = False) -> None:
    """Before the open: fix a date's draw [default: today] and put its hash on record."""
    place, day = known_home(home), parse_date(date) or now().date().isoformat()
    from pipelines.rollout import drawing

    show(drawing.commit(place, day, who=who(), now=now()).to_dict(), as_json=json_)


@app.command()
def judge(home: Home = None, json_: Json = False) -> None:
    """After the close: reveal salts, ask the stop gates; one that fails takes it down (exit 4)."""
    place = known_home(home)
    from pipelines.rollout import notices, steps

    try:
        moved = steps.judge(place, who=who(), now=now())
    except StaleModel as error:
        notices.stale(place, error, now())
        raise
    notices.moved(place, moved, now())
    result = moved.to_dict()
    show(result if json_ else views.gated(result), as_json=json_)
    sys.exit(4 if moved.changed else 0)


@app.command("post-mortem")
def post_mortem(date: Date = None, home: Home = None, json_: Json = False) -> None:
    """The week that holds a date [default: today] as a page: hotspots, breaches, who was wrong."""
    place, day = known_home(home), parse_date(date) or now().date().isoformat()
    from pipelines.pages import post_mortem as page
    from pipelines.rollout.week import look_back

    week = look_back(place, day, now=now())
    show({"week": week.monday, "page": str(page.build(place, week))}, as_json=json_)
