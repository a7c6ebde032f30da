"""Commands of a release's life: gates, promotion, rollback, demotion, and what is live."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import views
from cli.console import show as print_result
from cli.data import MODEL
from cli.options import (
    APPROVER,
    Candidate,
    Home,
    Json,
    Reason,
    approver_password,
    known_home,
    moment,
    now,
    who,
)
from cli.progress import stages
from crossimpact.errors import GateRefused
from crossimpact.ladder import RUNGS

app = typer.Typer()


@app.command(rich_help_panel=MODEL)
def gates(release: Candidate = None, home: Home = None, json_: Json = False) -> None:
    """What the gates say of a release: value, limit, verdict (exit 4 when refused)."""
    place = known_home(home)
    with stages("gates"):
        from pipelines import promotion as step

        checked = step.check(place, release, now=now())
    result = checked.to_dict()
    print_result(result if json_ else views.gated(result), as_json=json_)
    sys.exit(4 if checked.refused else 0)


@app.command(rich_help_panel=MODEL)
def promote(
    release: Candidate = None,
    override: Annotated[bool, typer.Option("--override", help="In spite of the gates")] = False,
    reason: Reason = "",
    approver: Annotated[
        str,
        typer.Option(
            help="Second person an override needs; where MLflow asks for logins, the approver's, "
            f"whose password is asked for [or: ${APPROVER}], elsewhere a name that nobody checks"
        ),
    ] = "",
    home: Home = None,
    json_: Json = False,
) -> None:
    """Ask the gates, then move the alias `champion` (exit 4 when refused)."""
    place = known_home(home)
    from pipelines.approval import Signature, by_login

    signed = Signature(who(), reason, approver, "name")
    if override:
        signed = by_login(place.mlflow_uri, signed, lambda: approver_password(approver))
    try:
        with stages("promote"):
            from pipelines import promotion as step

            result = step.promote(
                place, release, override=override, reason=reason, approver=approver,
                who=signed.who, now=now, identity=signed.identity,
            ).to_dict()  # fmt: skip
    except GateRefused as refusal:
        if not json_:  # as JSON the rows go with the error
            print_result(views.gated(refusal.report), as_json=False)
        raise
    print_result(result if json_ else views.gated(result), as_json=json_)


@app.command(rich_help_panel=MODEL)
def rollback(reason: Reason = "", home: Home = None, json_: Json = False) -> None:
    """Go back to the champion before this one."""
    place = known_home(home)
    from pipelines import promotion as step

    result = step.rollback(place, who=who(), reason=reason, now=now())
    print_result(result.to_dict(), as_json=json_)


@app.command(rich_help_panel=MODEL)
def demote(
    regime: Annotated[str, typer.Argument(help="Regime of the champion")],
    rung: Annotated[str, typer.Argument(help=f"{', '.join(RUNGS[1:-1])} or {RUNGS[-1]}")],
    reason: Reason = "",
    home: Home = None,
    json_: Json = False,
) -> None:
    """Hold a regime of the champion to a lower rung until it is promoted again."""
    place = known_home(home)
    from pipelines import promotion as step

    result = step.demote(place, {regime: rung}, who=who(), reason=reason, now=now())
    print_result(result.to_dict(), as_json=json_)


@app.command(rich_help_panel=MODEL)
def show(
    as_of: Annotated[str | None, typer.Option(help="Champion at this moment, ISO 8601")] = None,
    home: Home = None,
    json_: Json = False,
) -> None:
    """The champion: regimes, edges, condition number, window, digest."""
    place, when = known_home(home), moment(as_of)
    from pipelines import release as step

    result = step.show(place, when, now()).to_dict()
    print_result(result if json_ else views.champion(result), as_json=json_)


@app.command(rich_help_panel=MODEL)
def pull(home: Home = None, json_: Json = False) -> None:
    """Pull the champion as a live scheduler does: who answers, within 2 s (exit 5: a fallback)."""
    place = known_home(home)
    from pipelines import consume as step

    served = step.ask(place, who=who(), clock=now)
    try:
        print_result(served.to_dict(), as_json=json_)
    finally:  # the answer first: a ledger that is held or full must not keep it
        if unseen := step.record_fallback(place, served, who=who(), now=now()):
            print(f"warning: {unseen}", file=sys.stderr)
    sys.exit(5 if served.state == "fallback" else 0)
