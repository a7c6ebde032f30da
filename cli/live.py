"""`crossimpact live`: the loop a desk leaves running, its journal, and its kill switch."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from cli.console import show
from cli.options import Home, Json, Reason, known_home, now, settings, who
from crossimpact.errors import GateRefused, UsageError

app = typer.Typer(invoke_without_command=True, no_args_is_help=False)
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
    policy: Annotated[Literal["optimal", "ranked"], typer.Option(help="Whose rule decides")] = (
        "optimal"
    ),
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
    replay: Annotated[
        str | None, typer.Option(help="Instead: a journal once more, byte for byte")
    ] = None,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Market state, fills and parents in, child targets out, all on record (docs/live.md)."""
    if context.invoked_subcommand is not None:
        return
    place = settings(home)
    from pipelines.live import run as step

    if replay is not None:
        told = step.replayed(place, step.found_journal(place, replay))
        show(told.to_dict(), as_json=json_)
        sys.exit(0 if told.differs is None else 1)
    outputs = output or ["-"]
    asked = step.Asked(
        session or now().date().isoformat(), feed or ["-"], outputs, who(), approver, policy,
        every_min=every, port=port, follow=not once, limit_s=watchdog, fresh_s=fresh,
    )  # fmt: skip
    result = step.run(place, asked, now)
    if json_ or "-" not in outputs:
        show(result, as_json=json_)


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

    show(step.set_level(settings(home), level, who(), reason), as_json=json_)


@app.command()
def reset(reason: Reason = "", home: Home = None, json_: Json = False) -> None:
    """Take a latched level back; your name and the reason go on record."""
    from pipelines.live import run as step

    show(step.set_level(known_home(home), "RUN", who(), reason), as_json=json_)


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
    show(result, as_json=json_)
