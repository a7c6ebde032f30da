"""`crossimpact export`: plain CSV for other systems."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import console
from cli.options import Bucket, CsvFile, FlowOption, Home, Json, ReleaseOption, known_home

app = typer.Typer(no_args_is_help=True, help="Plain CSV for other systems.")


@app.command("gamma")
def gamma(
    file: CsvFile, release: ReleaseOption = "champion", home: Home = None, json_: Json = False
) -> None:
    """regime,symbol_i,symbol_j,gamma_bps,se_bps; an absent pair is 0."""
    place = known_home(home)
    from pipelines import export as step

    _told(file, step.export_gamma(place, file, release).to_dict(), json_)


@app.command("self")
def self_(
    file: CsvFile, release: ReleaseOption = "champion", home: Home = None, json_: Json = False
) -> None:
    """regime,symbol,alpha_bps,beta_bps,se_alpha,se_beta."""
    place = known_home(home)
    from pipelines import export as step

    _told(file, step.export_self(place, file, release).to_dict(), json_)


@app.command("kernel")
def kernel(
    file: CsvFile, release: ReleaseOption = "champion", home: Home = None, json_: Json = False
) -> None:
    """regime,lag_min,g_self,se_self,g_cross,se_cross: what is left of a push; none: no rows."""
    place = known_home(home)
    from pipelines import export as step

    _told(file, step.export_kernel(place, file, release).to_dict(), json_)


@app.command("violations")
def violations(
    file: CsvFile,
    history: Annotated[
        bool, typer.Option("--history", help="Past ones too, with value, place, runs and status")
    ] = False,
    home: Home = None,
    json_: Json = False,
) -> None:
    """table,date,file,row,key,rule_id,severity of everything validated under this home."""
    place = known_home(home)
    from pipelines import export as step

    rows = (
        step.export_history(place, file) if history else step.export_violations(place, None, file)
    )
    _told(file, {"path": str(file), "rows": rows}, json_)


@app.command("regimes")
def regimes(
    file: CsvFile,
    flow: FlowOption = None,
    bucket: Bucket = "5min",
    home: Home = None,
    json_: Json = False,
) -> None:
    """ts,regime (bucket start, UTC) of every labelled date."""
    place = known_home(home, bucket, flow or "own")
    from pipelines import export as step
    from pipelines.store.warehouse import Warehouse

    if flow is None and place.feature_layer not in Warehouse(place).layers():
        place = known_home(home, bucket, "public")

    _told(file, {"path": str(file), "rows": step.export_regimes(place, file)}, json_)


def _told(file: Path, result: Mapping[str, Any], as_json: bool) -> None:
    """What was written; on stderr when stdout is where it went."""
    stdout = Path("/dev/stdout")
    taken = file.exists() and stdout.exists() and file.samefile(stdout)
    with redirect_stdout(sys.stderr if taken else sys.stdout):
        console.show(result, as_json=as_json)
