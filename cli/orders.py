"""`crossimpact sequence`: schedules for orders in sequence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli import views
from cli.console import show
from cli.options import Home, Json, known_home, numbers
from cli.progress import stages
from crossimpact.errors import UsageError

app = typer.Typer()


@app.command(rich_help_panel="Orders")
def sequence(
    file: Annotated[Path, typer.Argument(help="PROBLEM.json, or orders.csv with --model")],
    model: Annotated[
        str | None, typer.Option("--model", help="champion, challenger or a release id")
    ] = None,
    regime: Annotated[str, typer.Option(help="Whose matrix, with --model")] = "normal",
    rho: Annotated[
        float | None,
        typer.Option(help="Decay per unit of time, with --model [default: the release's]"),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Of a unit of the orders' time, for the release's decay [default: bucket]"
        ),
    ] = None,
    times: Annotated[
        str | None, typer.Option(help="Boundaries 0,12,24 when the orders have no start and end")
    ] = None,
    objective: Annotated[
        Literal["myopic", "ttsc", "tthc", "hybrid"], typer.Option(help="With --model")
    ] = "tthc",
    spread: Annotated[bool, typer.Option("--spread", help="Charge the model's alpha")] = False,
    pov: Annotated[
        float | None, typer.Option(help="Largest share of volume, 0 to 1, with --model and --day")
    ] = None,
    day: Annotated[float | None, typer.Option(help="Length of a day in the orders' time")] = None,
    no_blocks: Annotated[
        bool, typer.Option("--no-blocks", help="No instantaneous trades, with --model")
    ] = False,
    full_span: Annotated[
        bool, typer.Option("--full-span", help="No order pauses, with --model")
    ] = False,
    project: Annotated[
        bool, typer.Option("--project", help="Nearest admissible matrix instead of an error")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Add the four schedules under both metrics")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="Folder to write a page with figures into")
    ] = None,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Schedule orders in sequence: blocks and rates, priced under every metric."""
    bounds = numbers(times, "--times")
    if minutes is not None and (model is None or rho is not None):
        raise UsageError("--minutes is for the release's decay", "give --model, and no --rho")
    if not file.is_file():
        raise UsageError(f"{file} is not a file", "give PROBLEM.json, or orders.csv with --model")
    place = known_home(home) if model is not None else None
    with stages("sequence"):
        from pipelines.sequence import solve as step

        if model is None or place is None:
            answer = step.run(file, project=project, comparison=compare, report=report)
        else:
            from pipelines.sequence import orders_file  # the registry: a problem file need not wait

            desk = orders_file.load(
                place, file, model, regime, rho, minutes=minutes, times=bounds,
                objective=objective, spread=spread, pov=pov, day=day, no_blocks=no_blocks,
                full_span=full_span, project=project,
            )  # fmt: skip
            answer = step.answer(
                desk.task, desk.units, comparison=compare, facts=desk.facts, report=report
            )
    result = answer.to_dict()
    show(result if json_ else views.scheduled(result), as_json=json_)
