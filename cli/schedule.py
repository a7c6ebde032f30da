"""`crossimpact schedule`: what to trade next, from a desk's state and the promoted model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli import views
from cli.console import show
from cli.options import Home, Json, ReleaseOption, known_home
from cli.progress import stages
from crossimpact.errors import UsageError

app = typer.Typer()


@app.command(rich_help_panel="Orders")
def schedule(
    file: Annotated[Path | None, typer.Argument(help="STATE.json, see docs/scheduler.md")] = None,
    policy: Annotated[
        Literal["optimal", "ranked"], typer.Option(help="Whose rule decides")
    ] = "optimal",
    engine: Annotated[
        Literal["fast", "cvxpy"], typer.Option(help="cvxpy: the reference, to check or extend")
    ] = "fast",
    release: ReleaseOption = "champion",
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schemas of state and plan instead")
    ] = False,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Child orders for the next interval and targets behind them, with reasons and prices."""
    if schema:
        from crossimpact.policy import plan as plans

        show(plans.schemas(), as_json=True)
        return
    if file is None or not file.is_file():
        raise UsageError(f"{file} is not a file", "give STATE.json, see docs/scheduler.md")
    place = known_home(home)
    with stages("schedule"):
        from pipelines import schedule as step

        plan = step.run(place, file, release, policy, engine)
    result = plan.to_dict()
    show(result if json_ else views.planned(result), as_json=json_)
