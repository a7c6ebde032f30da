"""`crossimpact ingest`: other people's data as a landing zone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import show
from cli.options import Bucket, Home, Json, settings
from cli.progress import stages

app = typer.Typer(no_args_is_help=True, help="Turn other data into a landing zone.")

Map = Annotated[Path, typer.Argument(metavar="MAP", help="What is where, see docs/ingest.md")]
Source = Annotated[Path, typer.Argument(metavar="SRC", help="Folder of the source files")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write landing/ into")]


@app.command()
def cn10(
    src: Source, out: Out, bucket: Bucket = "5min", home: Home = None, json_: Json = False
) -> None:
    """Ten anonymised A-shares: books and prints every 3 s."""
    place = settings(home, bucket)
    with stages("ingest"):
        from pipelines.ingest import public as step

        result = step.run(place, "cn10", src, out)
    show(result.to_dict(), as_json=json_)


@app.command()
def table(
    map_: Map, src: Source, out: Out, bucket: Bucket = "5min", home: Home = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Anybody's CSV or Parquet files, as MAP.toml tells."""
    place = settings(home, bucket)
    with stages("ingest"):
        from pipelines.ingest import mapped as step

        result = step.run(place, map_, src, out)
    show(result.to_dict(), as_json=json_)
