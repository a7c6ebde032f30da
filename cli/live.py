"""`crossimpact live`: the loop a desk leaves running, its journal, and its kill switch."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.console import show
from cli.options import (
    Date,
    Home,
    Json,
    Reason,
    known_home,
    landing_zone,
    moment,
    now,
    settings,
    who,
)
from cli.options import date as parse_date
from crossimpact.errors import GateRefused, UsageError

app = typer.Typer(invoke_without_command=True, no_args_is_help=False)
about_orders = typer.Typer()
JournalName = Annotated[str, typer.Argument(help="Journal file, or a session's name")]


@app.callback()
def live(
    context: typer.Context,
    feed: Annotated[
        list[str] | None,
        typer.Option(help="- (default), FILE, FOLDER, unix:PATH, tcp:127.0.0.1:PORT, redis://..."),
    ] = None,
    output: Annotated[
        list[str] | None, typer.Option(help="- (default), FILE or redis://127.0.0.1:PORT/STREAM")
    ] = None,
    session: Annotated[str, typer.Option(help="Name of the session [default: today]")] = "",
    policy: Annotated[
        Literal["optimal", "ranked"] | None,
        typer.Option(help="Whose rule decides [default: optimal]"),
    ] = None,
    every: Annotated[float, typer.Option(help="A plan at least so often, minutes")] = 5.0,
    port: Annotated[
        int | None, typer.Option(help="Of /healthz, /readyz and /metrics, loopback; 0: a free one")
    ] = None,
    approver: Annotated[str, typer.Option(help="Second person, where a limit is raised")] = "",
    once: Annotated[
        bool, typer.Option("--once", help="End with the files' end instead of waiting for more")
    ] = False,
    watchdog: Annotated[
        float, typer.Option(help="Seconds without a finished turn until the loop is killed")
    ] = 5.0,
    fresh: Annotated[
        float, typer.Option(help="Seconds without an event until turns do not count")
    ] = 120.0,
    play: Annotated[
        Path | None, typer.Option(help="A landing zone's date as the feed, with --date")
    ] = None,
    date: Date = None,
    speed: Annotated[
        float, typer.Option(help="Of --play: event time over wall time; 0: as fast as it goes")
    ] = 0.0,
    replay: Annotated[
        str | None,
        typer.Option(
            help="Instead: a journal once more, byte for byte; with another --policy, what that "
            "one would have planned (exit 1 when it differs)"
        ),
    ] = None,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Market state, fills and parents in, child targets out, all on record (docs/live.md)."""
    if context.invoked_subcommand is not None:
        return
    place, date = settings(home), parse_date(date)
    from pipelines.live import counterfactual
    from pipelines.live import run as step

    if replay is not None:
        path = step.found_journal(place, replay)
        if policy is not None:
            show(counterfactual.counterfactual(place, path, policy).to_dict(), as_json=json_)
            return
        told = step.replayed(place, path)
        show(told.to_dict(), as_json=json_)
        sys.exit(0 if told.differs is None else 1)
    outputs = output or (["-"] if play is None else [])
    feeds = feed or (["-"] if play is None else [])
    name = session or (f"play-{date}" if play is not None else now().date().isoformat())
    asked = step.Asked(
        name, feeds, outputs, who(), approver, policy or "optimal", every_min=every, port=port,
        follow=not once, limit_s=watchdog, fresh_s=fresh, watch=play is None,
    )  # fmt: skip
    player = None
    if play is not None:
        if date is None:
            raise UsageError("--play needs --date", "give one of the landing zone's dates")
        player = step.player(place, landing_zone(play, date), date, speed)
    result = step.run(place, asked, now, player)
    if json_ or "-" not in outputs:
        show(result.to_dict(), as_json=json_)


@app.command()
def verify(journal: JournalName, home: Home = None, json_: Json = False) -> None:
    """Whether a journal is whole, sealed and as its manifest says (exit 1 when not)."""
    place = settings(home)
    from pipelines.live import journal as journals
    from pipelines.live import run as step

    verdict = journals.verify(step.found_journal(place, journal))
    show(verdict.to_dict(), as_json=json_)
    sys.exit(0 if verdict.ok else 1)


@app.command()
def level(
    level: Annotated[Literal["PAUSE", "CANCEL", "KILL"], typer.Argument(help="Latched")],
    reason: Reason = "",
    home: Home = None,
    json_: Json = False,
) -> None:
    """Ask for nothing new, take back what is at the market, or kill; latched until a reset."""
    from pipelines.live import run as step

    show(asdict(step.set_level(settings(home), level, who(), reason)), as_json=json_)


@app.command()
def reset(reason: Reason = "", home: Home = None, json_: Json = False) -> None:
    """Take a latched level back; your name and the reason go on record."""
    from pipelines.live import run as step

    show(asdict(step.set_level(known_home(home), "RUN", who(), reason)), as_json=json_)


@app.command()
def mode(
    mode: Annotated[Literal["advisory", "full"], typer.Argument(help="Of the open session")],
    reason: Reason = "",
    approver: Annotated[str, typer.Option(help="Second person, for a step up")] = "",
    home: Home = None,
    json_: Json = False,
) -> None:
    """One step up, with a second person and a sealed advisory session as evidence (else exit 4);
    any step down at once."""
    place = known_home(home)
    import msgspec

    from pipelines.live import run as step

    asked = step.set_mode(place, mode, who(), approver, reason, now())
    show(msgspec.to_builtins(asked), as_json=json_)


@app.command()
def drill(
    what: Annotated[Literal["kill"], typer.Argument(help="What is drilled")],
    home: Home = None,
    json_: Json = False,
) -> None:
    """Kill a loop of its own, hung on purpose, and say how long it took (exit 4 beyond 1 s)."""
    from pipelines.live import drill as step

    result = step.kill(settings(home), who(), now())
    show(result.to_dict(), as_json=json_)
    if not result.passed:
        raise GateRefused(f"the {what} took {result.seconds:.2f} s, limit {step.LIMIT_S:g} s")


@app.command("self-assessment")
def self_assessment(home: Home = None, json_: Json = False) -> None:
    """Limits, breaches, levels, drills and changes of the home's sessions (RTS 6 Art. 9)."""
    place = known_home(home)
    from pipelines.live import assessment as step

    if not (result := step.of(place)):
        raise UsageError(f"home {place.home} has no live session yet", "run `crossimpact live`")
    show(asdict(result), as_json=json_)


@about_orders.command(rich_help_panel="Orders")
def explain(
    symbol: Annotated[str, typer.Argument(help="A name of the desk")],
    at: Annotated[str | None, typer.Option("--at", help="Moment, UTC [default: now]")] = None,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Why a name got what it got: cost by pair, carried, rank, caps with prices, rules."""
    place, when = known_home(home), moment(at) or now()
    import msgspec

    from pipelines.live import run as step

    show(msgspec.to_builtins(step.explained(place, symbol, when)), as_json=json_)
