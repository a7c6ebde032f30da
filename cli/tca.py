"""`crossimpact tca`: what the fills of a date cost, and its tables as files for others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli import views
from cli.console import show
from cli.options import (
    Address,
    Date,
    EngineOption,
    Home,
    Json,
    LandingPath,
    date,
    known_home,
    landing_zone,
)
from cli.progress import stages
from crossimpact.errors import UsageError

DAY = "day"


class DayUnlessNamed(TyperGroup):
    """`crossimpact tca LANDING` stays what it was: `crossimpact tca day LANDING`."""

    default = DAY

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        asks_help = bool(args) and args[0] in ctx.help_option_names
        named = bool(args) and args[0] in self.commands
        return super().parse_args(ctx, args if asks_help or named else [self.default, *args])


app = typer.Typer(
    cls=DayUnlessNamed,
    help="Daily TCA: `crossimpact tca LANDING [--date D]`, and `tca export` for its tables.",
)


@app.command(DAY)
def day(
    landing: LandingPath,
    date_: Date = None,
    engine: EngineOption = "local",
    address: Address = None,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Daily TCA of one date, the last landed one by default (the word `day` may be left out)."""
    place, wanted = known_home(home), date(date_)
    landing_zone(landing, wanted)
    with stages("tca"):
        from pipelines import tca as step
        from pipelines.engine import opened
        from pipelines.store.landing import Landing

        dates = [wanted or Landing(landing).all_dates()[-1]]
        with opened(engine, address) as workers:
            (result,) = workers.map(partial(step.run_as_of, place, landing), dates)
    shown = result.to_dict()
    show(shown if json_ else views.priced(shown), as_json=json_)


@app.command("export")
def export(
    csv: Annotated[Path | None, typer.Option("--csv", help="Folder of CSV files")] = None,
    xlsx: Annotated[Path | None, typer.Option("--xlsx", help="A workbook to write")] = None,
    duckdb: Annotated[Path | None, typer.Option("--duckdb", help="A database to write")] = None,
    first: Annotated[str | None, typer.Option("--from", help="First date, YYYY-MM-DD")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last date, YYYY-MM-DD")] = None,
    home: Home = None,
    json_: Json = False,
) -> None:
    """The tables of TCA (docs/reading_the_day.md) as files that stand by themselves."""
    if not (csv or xlsx or duckdb):
        raise UsageError(
            "nothing to write", "give --csv FOLDER, --xlsx FILE.xlsx or --duckdb FILE.duckdb"
        )
    place, span = known_home(home), (date(first), date(last))
    with stages("tca export"):
        from pipelines import tca_export as step

        forms: list[tuple[Callable[..., step.Export], Path | None]] = [
            (step.to_csv, csv),
            (step.to_xlsx, xlsx),
            (step.to_duckdb, duckdb),
        ]
        done = [write(place, path, *span).to_dict() for write, path in forms if path]
    show({"exports": done} if json_ else views.tables_written(done), as_json=json_)
