"""Commands on landed files: contract, refit, and what is measured of a champion by day and week."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli import views
from cli.console import show
from cli.options import (
    Address,
    AsOf,
    Bucket,
    Date,
    EngineOption,
    FlowOption,
    Home,
    Json,
    LandingPath,
    date,
    known_home,
    landing_zone,
    now,
    settings,
    who,
)
from cli.progress import stages
from crossimpact.errors import UsageError

app = typer.Typer()
DATA, MODEL, MEASURE = "Data", "Model and release", "Measure"


@app.command(rich_help_panel=DATA)
def contract() -> None:
    """Print the data contract as Markdown."""
    from pipelines.pages.contract import markdown

    print(markdown(), end="")


@app.command(rich_help_panel=DATA)
def init(
    landing: Annotated[Path, typer.Argument(help="A folder that is new or empty")],
    date_: Date = None,
    json_: Json = False,
) -> None:
    """Write a landing zone of one date, an example row a table, that passes `validate`."""
    day = date(date_) or (now().date() - timedelta(days=1)).isoformat()
    from pipelines import example as step

    show({"landing": str(landing), "date": day, "rows": step.write(landing, day)}, as_json=json_)


@app.command(rich_help_panel=DATA)
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to write landing/ and truth.json into")],
    symbols: int = 20,
    days: int = 20,
    seed: int = 7,
    dirt: Annotated[bool, typer.Option("--dirt", help="Break some rows on purpose")] = False,
    first_date: Annotated[
        str | None,
        typer.Option(help="First trading day [default: so that the last is yesterday's]"),
    ] = None,
    fade: Annotated[float, typer.Option(help="Cross impact of the last days, times planted")] = 1.0,
    fade_days: Annotated[int, typer.Option(help="How many last days fade")] = 0,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Write a demo desk with planted impact."""
    first = date(first_date)
    with stages("simulate"):
        from crossimpact.simulate import DEMO_HALF_LIFE_MIN, DEMO_PERMANENT, DeskSpec
        from pipelines import simulate as step

        first = first or DeskSpec.first_date_before(now().date().isoformat(), days)
        spec = DeskSpec(
            symbols=symbols, days=days, seed=seed, first_date=first, fade=fade,
            fade_days=fade_days, half_life_min=DEMO_HALF_LIFE_MIN, permanent=DEMO_PERMANENT,
        )  # fmt: skip
        result = step.run(settings(home), out, spec, dirt)
    show(result.to_dict(), as_json=json_)


@app.command(rich_help_panel=DATA)
def validate(
    landing: LandingPath,
    date_: Date = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Go over to this landing zone for good")
    ] = False,
    engine: EngineOption = "local",
    address: Address = None,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Check the contract: accept, quarantine, or block (exit 3)."""
    place, day = settings(home), date(date_)
    landing_zone(landing, day)
    with stages("validate"):
        from pipelines import validate as step
        from pipelines.audit.zone import replace as go_over
        from pipelines.engine import opened
        from pipelines.store.landing import Landing
        from pipelines.store.warehouse import Warehouse

        zone = Landing(landing)
        if day and day not in zone.all_dates():
            raise UsageError(f"landing zone {landing} has no partition of {day}")
        if replace:
            go_over(Warehouse(place), zone)
        with opened(engine, address) as workers:
            result = step.run(place, zone, [day] if day else None, workers).to_dict()
    show(result if json_ else views.validated(result), as_json=json_)


@app.command(rich_help_panel=MODEL)
def refit(
    landing: LandingPath,
    as_of: AsOf = None,
    window_days: Annotated[
        int | None, typer.Option(min=1, help="Trading dates [default: the policy's, 60]")
    ] = None,
    flow: FlowOption = None,
    bucket: Bucket = "5min",
    loss: Annotated[Literal["huber", "quantile"], typer.Option(help="Self fit's loss")] = "huber",
    engine: EngineOption = "local",
    address: Address = None,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Validate what is new, build features, fit, stabilise, register a challenger."""
    place, last = settings(home, bucket), date(as_of)
    landing_zone(landing, last)
    with stages("refit"):
        from pipelines import refit as step
        from pipelines.engine import opened
        from pipelines.plan import settings_for
        from pipelines.store.landing import Landing

        place = settings_for(place, Landing(landing), flow)
        with opened(engine, address) as workers:
            made = step.run(place, landing, last, window_days, loss, now(), workers)
    result = made.to_dict()
    show(result if json_ else views.refitted(result), as_json=json_)


@app.command(rich_help_panel=MEASURE)
def drift(landing: LandingPath, as_of: AsOf = None, home: Home = None, json_: Json = False) -> None:
    """The champion against its latest week; demotes it where the evidence says so."""
    place, last = known_home(home), date(as_of)
    landing_zone(landing, last)
    with stages("drift"):
        from pipelines import drift as step
        from pipelines.verdict import announce

        result = step.run(place, landing, last)
        done = announce(place, result, who=who(), now=now())
    shown = {**result.to_dict(), **done}
    show(shown if json_ else views.drifted(shown), as_json=json_)
