"""`crossimpact shadow`: what other policies would have done with a day's orders, and its cost."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import views
from cli.console import show
from cli.options import Date, Home, Json, LandingPath, date, known_home, landing_zone
from cli.progress import stages

app = typer.Typer()


@app.command(rich_help_panel="Measure")
def shadow(
    landing: LandingPath,
    date_: Date = None,
    horizon: Annotated[int, typer.Option(min=1, max=96, help="Intervals planned ahead")] = 12,
    draws: Annotated[int, typer.Option(min=200, help="Of each judge's numbers")] = 200,
    home: Home = None,
    json_: Json = False,
) -> None:
    """A date under other policies, by an independent judge; exit 4 when it speaks against them."""
    place, day = known_home(home), date(date_)
    landing_zone(landing, day)
    with stages("shadow"):
        from pipelines import shadow as step
        from pipelines.store.landing import Landing

        asked = step.Asked(horizon, draws)
        result = step.run(place, landing, day or Landing(landing).all_dates()[-1], asked)
    if json_:
        step.check(result)
        show(result.to_dict(), as_json=True)
        return
    show(views.shadowed(result.release_id, result.notes, result.daily), as_json=False)
    step.check(result)
