"""`crossimpact audit`: what was judged, when, by which rules, and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli import views_audit as views
from cli.console import show
from cli.options import Home, Json, LandingPath, known_home, landing_zone
from cli.options import date as checked_date
from cli.progress import stages

app = typer.Typer(no_args_is_help=True, help="What was judged, when, by which rules, and then?")
contract = typer.Typer(no_args_is_help=True, help="The contract as a document, and its versions.")
app.add_typer(contract, name="contract")

ReleaseId = Annotated[
    str | None, typer.Option("--release", help="champion, or a release id [default: all]")
]


@app.command()
def fill(
    id_: Annotated[str, typer.Argument(metavar="ID", help="fill_id, as landed")],
    release: ReleaseId = None,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Where it was landed, every rule and value, its bucket, and in which releases it is."""
    place = known_home(home)
    from pipelines.audit.fill import trace

    _told(trace(place, id_, release).to_dict(), json_)


@app.command()
def rule(
    id_: Annotated[str, typer.Argument(metavar="ID", help="A rule, or table.rule")],
    home: Home = None,
    json_: Json = False,
) -> None:
    """Since when it is broken, by date, venue, symbol and file, and what it said before."""
    place = known_home(home)
    from pipelines.audit import answers

    result = answers.rule(place, id_).to_dict()
    show(result if json_ else views.history(result), as_json=json_)


@app.command()
def day(
    date: Annotated[str, typer.Argument(metavar="D", help="Trading date, YYYY-MM-DD")],
    home: Home = None,
    json_: Json = False,
) -> None:
    """Every verdict on a date, what is live of it, its files, rules and problems."""
    place, wanted = known_home(home), checked_date(date)
    from pipelines.audit import answers

    result = answers.day(place, str(wanted)).to_dict()
    show(result if json_ else views.day(result), as_json=json_)


@app.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A run's id, or DATE/ENTRY")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another")],
    home: Home = None,
    json_: Json = False,
) -> None:
    """Rows released and newly refused from one run to another, by rule."""
    place = known_home(home)
    from pipelines.audit import answers

    _told({"before": a, "after": b, "rules": answers.difference(place, a, b)}, json_)


@app.command()
def waivers(
    landing: Annotated[Path | None, typer.Option(help="Landing zone [default: the home's]")] = None,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Who answers for which broken rule until when; expired ones do not count."""
    place = known_home(home)
    from pipelines.audit import waivers as step

    _told(step.listed(place, landing).to_dict(), json_)


@app.command()
def replay(
    landing: LandingPath,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change, change nothing")
    ] = False,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Judge again what changed rules concern: rows released and newly refused."""
    place = known_home(home)
    landing_zone(landing, None)
    with stages("replay"):
        from pipelines.audit import replay as step

        result = step.run(place, landing, dry_run=dry_run).to_dict()
    _told(result, json_)


@app.command()
def pages(home: Home = None, json_: Json = False) -> None:
    """Write the auditor's pages: an overview by month, a page a day."""
    place = known_home(home)
    from pipelines.pages.audit import build

    _told({"pages": [str(path) for path in build(place)]}, json_)


@contract.command("show")
def contract_show(
    version: Annotated[str | None, typer.Argument(help="[default: the current]")] = None,
) -> None:
    """The contract as YAML, in the shape of the Open Data Contract Standard."""
    from pipelines.pages.contract_document import document

    print(document(version), end="")


@contract.command("diff")
def contract_diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A version of the contract")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another")],
    json_: Json = False,
) -> None:
    """What one version of the contract says that another does not."""
    from pipelines.pages.contract_document import difference

    _told({"versions": [a, b], "changes": difference(a, b)}, json_)


def _told(result: dict[str, Any], as_json: bool) -> None:
    show(result, as_json=as_json)
