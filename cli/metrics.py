"""`crossimpact metrics`: the platform's numbers for a monitor."""

from __future__ import annotations

import signal
from pathlib import Path
from threading import Event
from typing import Annotated

import typer

from cli.console import show
from cli.options import Home, Json, known_home, now
from cli.progress import stages

app = typer.Typer(help="The platform's numbers in Prometheus' text form (docs/monitoring.md).")


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 9465,
    host: Annotated[
        str, typer.Option(help="Address to bind; another one than loopback is for containers")
    ] = "127.0.0.1",
    home: Home = None,
) -> None:
    """Answer /metrics until ended; each scrape reads what has changed."""
    place, ended = known_home(home), Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: ended.set())
    with stages("metrics"):
        from pipelines.monitoring import exporter

        exporter.serve(place, host, port, now, ended)


@app.command()
def write(
    file: Annotated[Path, typer.Argument(help="File to write, replaced in one step")],
    home: Home = None,
    json_: Json = False,
) -> None:
    """Write the metrics to a file once, for a node exporter's textfile collector."""
    place = known_home(home)
    from pipelines.monitoring import exporter

    show({"file": str(file), "lines": exporter.write(place, file, now)}, as_json=json_)
