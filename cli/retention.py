"""`crossimpact gc`: what a home no longer needs."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.console import show
from cli.options import Home, Json, known_home, now
from cli.progress import stages

app = typer.Typer()


@app.command(rich_help_panel="Operation")
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go")] = False,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Remove what is old by the policy's retention and named by no record; rotate logs."""
    place = known_home(home)
    with stages("gc"):
        from pipelines.retention import collect as step

        result = step.run(place, now(), dry_run=dry_run).to_dict()
    show(result, as_json=json_)
