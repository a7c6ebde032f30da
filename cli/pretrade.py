"""`crossimpact pretrade`: what a basket will cost, before it is traded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import views
from cli.console import show
from cli.options import Home, Json, known_home, now
from cli.progress import stages
from crossimpact.errors import UsageError

app = typer.Typer()


@app.command(rich_help_panel="Orders")
def pretrade(
    file: Annotated[
        Path, typer.Argument(help="BASKET.csv: symbol,side,qty or notional_usd,start,end")
    ],
    home: Home = None,
    json_: Json = False,
) -> None:
    """Expected cost of a basket by cause and pair, at three urgencies, by the champion."""
    if not file.is_file():
        raise UsageError(f"{file} is not a file", "give BASKET.csv, see docs/reading_the_day.md")
    place = known_home(home)
    with stages("pretrade"):
        from pipelines import pretrade as step

        result = step.run(place, file, now()).to_dict()
    show(result if json_ else views.expected(result), as_json=json_)
