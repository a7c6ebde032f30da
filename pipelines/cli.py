"""The command line. Each command parses its words, calls one `pipelines` function and prints it.

Exit codes: 0 ok, 1 error, 2 usage, 3 contract violation, 4 gate refused, 5 stale model.
"""

from __future__ import annotations

import atexit
import getpass
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from crossimpact import __version__
from crossimpact.errors import CrossImpactError, GateRefused, UsageError
from pipelines import console
from pipelines.config import Flow, Settings, default_home, parse_bucket

# Nothing the platform runs reports home.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="crossimpact: measure how trading A moves B, keep it honest, act on it.",
)
ledger_app = typer.Typer(no_args_is_help=True, help="The append-only record of promotions.")
export_app = typer.Typer(no_args_is_help=True, help="Plain CSV for other systems.")
app.add_typer(ledger_app, name="ledger")
ingest_app = typer.Typer(no_args_is_help=True, help="Turn other data into a landing zone.")
app.add_typer(export_app, name="export")
app.add_typer(ingest_app, name="ingest")

Home = Annotated[
    Path | None,
    typer.Option("--home", help="Where state lives [default: $CROSSIMPACT_HOME or .crossimpact]"),
]
Json = Annotated[bool, typer.Option("--json", help="Machine output on stdout")]
LandingPath = Annotated[
    Path, typer.Argument(help="Landing zone: <table>/date=YYYY-MM-DD/*.parquet")
]
CsvFile = Annotated[Path, typer.Argument(help="CSV file to write")]
SourceFolder = Annotated[Path, typer.Argument(metavar="SRC", help="Folder of the source files")]
OutFolder = Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write landing/ into")]
Date = Annotated[str | None, typer.Option("--date", help="One trading date, YYYY-MM-DD")]
AsOf = Annotated[str | None, typer.Option("--as-of", help="Last date read, YYYY-MM-DD")]
Bucket = Annotated[str, typer.Option(help="Bucket width: 30s, 5min, 1h")]
FlowOption = Annotated[
    Literal["own", "public"] | None,
    typer.Option("--flow", help="Whose flow is q [default: own where the desk's orders are]"),
]
ReleaseOption = Annotated[
    str, typer.Option("--release", help="champion, challenger or a release id")
]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the ledger")]


def main() -> None:
    """Entry point: a user's mistake is one line and an exit code, never a traceback."""
    as_json = "--json" in sys.argv
    atexit.register(_silence_exit)
    try:
        app()
    except CrossImpactError as error:
        sys.exit(console.fail(error, as_json=as_json))
    except OSError as error:
        sys.exit(console.fail(CrossImpactError(f"{error}"), as_json=as_json))


def _silence_exit() -> None:
    """DuckDB's bindings list their leaks on stderr when Python ends; nobody can act on them."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _settings(home: Path | None, bucket: str = "5min", flow: Flow = "own") -> Settings:
    place = home.resolve() if home else default_home()
    return Settings(home=place, bucket_s=parse_bucket(bucket), flow=flow)


def _date(text: str | None) -> str | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date().isoformat() if text else None
    except ValueError as error:
        raise UsageError(f"{text!r} is not a date", "write it like 2026-03-27") from error


def _who() -> str:
    """The user for the ledger; a container's nameless user is its number."""
    try:
        return os.environ.get("CROSSIMPACT_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


@app.command()
def contract() -> None:
    """Print the data contract as Markdown."""
    from pipelines.contract_page import markdown

    print(markdown(), end="")


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


@app.command()
def demo(
    home: Home = None, symbols: int = 20, days: int = 20, seed: int = 7, json_: Json = False
) -> None:
    """The main job on a simulated desk, through the very DAGs a scheduler runs."""
    place = home.resolve() if home else default_home()
    sizes = ["--symbols", str(symbols), "--days", str(days), "--seed", str(seed)]
    command = [sys.executable, "-m", "ops.demo", "--home", str(place), *sizes]
    sys.exit(subprocess.call([*command, "--json"] if json_ else command))


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to write landing/ and truth.json into")],
    symbols: int = 20,
    days: int = 20,
    seed: int = 7,
    dirt: Annotated[bool, typer.Option("--dirt", help="Break some rows on purpose")] = False,
    first_date: Annotated[str, typer.Option(help="First trading day")] = "2026-03-02",
    fade: Annotated[float, typer.Option(help="Cross impact of the last days, times planted")] = 1.0,
    fade_days: Annotated[int, typer.Option(help="How many last days fade")] = 0,
    home: Home = None,
    json_: Json = False,
) -> None:
    """Write a demo desk with planted impact."""
    from crossimpact.simulate import DeskSpec
    from pipelines import simulate as step

    spec = DeskSpec(
        symbols=symbols, days=days, seed=seed, first_date=first_date, fade=fade,
        fade_days=fade_days,
    )  # fmt: skip
    console.show(step.run(_settings(home), out, spec, dirt).to_dict(), as_json=json_)


@ingest_app.command("cn10")
def ingest_cn10(
    src: SourceFolder, out: OutFolder, bucket: Bucket = "5min", home: Home = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Ten anonymised A-shares: books and prints every 3 s."""
    from pipelines import ingest as step

    console.show(step.run(_settings(home, bucket), "cn10", src, out).to_dict(), as_json=json_)


@ingest_app.command("table")
def ingest_table(
    map_: Annotated[Path, typer.Argument(metavar="MAP", help="What is where, see docs/ingest.md")],
    src: SourceFolder, out: OutFolder, bucket: Bucket = "5min", home: Home = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Anybody's CSV or Parquet files, as MAP.toml tells."""
    from pipelines import ingest_table as step

    console.show(step.run(_settings(home, bucket), map_, src, out).to_dict(), as_json=json_)


@app.command()
def validate(
    landing: LandingPath, date: Date = None, home: Home = None, json_: Json = False
) -> None:
    """Check the contract: accept, quarantine, or block (exit 3)."""
    from pipelines import validate as step
    from pipelines.landing import Landing

    zone, day = Landing(landing), _date(date)
    if day and day not in zone.all_dates():
        raise UsageError(f"landing zone {landing} has no partition of {day}")
    result = step.run(_settings(home), zone, [day] if day else None)
    console.show(result.to_dict(), as_json=json_)


@app.command()
def refit(
    landing: LandingPath,
    as_of: AsOf = None,
    window_days: Annotated[int, typer.Option(min=1, help="Trading dates")] = 60,
    flow: FlowOption = None,
    bucket: Bucket = "5min",
    loss: Annotated[Literal["huber", "quantile"], typer.Option(help="Self fit's loss")] = "huber",
    home: Home = None,
    json_: Json = False,
) -> None:
    """Validate what is new, build features, fit, stabilise, register a challenger."""
    from pipelines import refit as step
    from pipelines.landing import Landing

    settings = step.settings_for(_settings(home, bucket), Landing(landing), flow)
    result = step.run(settings, landing, _date(as_of), window_days, loss)
    console.show(result.to_dict(), as_json=json_)


@app.command()
def promote(
    release: Annotated[str | None, typer.Option(help="Release id [default: challenger]")] = None,
    override: Annotated[bool, typer.Option("--override", help="In spite of the gates")] = False,
    reason: Reason = "",
    approver: Annotated[str, typer.Option(help="Second name an override needs")] = "",
    home: Home = None,
    json_: Json = False,
) -> None:
    """Ask the gates, then move the alias `champion` (exit 4 when refused)."""
    from pipelines import promotion as step

    try:
        result = step.promote(
            _settings(home), release, override=override, reason=reason, approver=approver,
            who=_who(), now=lambda: datetime.now(UTC),
        )  # fmt: skip
    except GateRefused as refusal:
        if not json_:  # as JSON the rows go with the error
            console.show(refusal.report, as_json=False)
        raise
    console.show(result.to_dict(), as_json=json_)


@app.command()
def rollback(reason: Reason = "", home: Home = None, json_: Json = False) -> None:
    """Go back to the champion before this one."""
    from pipelines import promotion as step

    result = step.rollback(_settings(home), who=_who(), reason=reason, now=datetime.now(UTC))
    console.show(result.to_dict(), as_json=json_)


@app.command()
def gates(
    release: Annotated[str | None, typer.Option(help="Release id [default: challenger]")] = None,
    home: Home = None,
    json_: Json = False,
) -> None:
    """What the gates say of a release: value, limit, verdict (exit 4 when refused)."""
    from pipelines import promotion as step

    result = step.check(_settings(home), release)
    console.show(result, as_json=json_)
    sys.exit(4 if result["refused"] else 0)


@app.command()
def demote(
    regime: Annotated[str, typer.Argument(help="Regime of the champion")],
    rung: Annotated[str, typer.Argument(help="sector_block, self_only or fixed_pov")],
    reason: Reason = "",
    home: Home = None,
    json_: Json = False,
) -> None:
    """Hold a regime of the champion to a lower rung until it is promoted again."""
    from pipelines import promotion as step

    result = step.demote(
        _settings(home), {regime: rung}, who=_who(), reason=reason, now=datetime.now(UTC)
    )
    console.show(result.to_dict(), as_json=json_)


@app.command()
def show(
    as_of: Annotated[str | None, typer.Option(help="Champion at this moment, ISO 8601")] = None,
    home: Home = None,
    json_: Json = False,
) -> None:
    """The champion: regimes, edges, condition number, window, digest."""
    from pipelines import release as step

    console.show(step.show(_settings(home), _moment(as_of)).to_dict(), as_json=json_)


@app.command()
def pull(home: Home = None, json_: Json = False) -> None:
    """Pull the champion as a live scheduler does: who answers, within 2 s (exit 5: a fallback)."""
    from pipelines import consume as step

    result = step.pull(_settings(home), who=_who(), clock=lambda: datetime.now(UTC))
    console.show(result, as_json=json_)
    sys.exit(5 if result["state"] == "fallback" else 0)


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError as error:
        raise UsageError(f"{text!r} is not a moment", "write it like 2026-03-27T14:30Z") from error
    return moment.replace(tzinfo=moment.tzinfo or UTC) if moment else None


@ledger_app.command("show")
def ledger_show(home: Home = None, json_: Json = False) -> None:
    """Who changed what is live, when and why: every line, oldest first."""
    from pipelines import release as step

    book = step.ledger_lines(_settings(home))
    if not json_:
        for line in book["ledger"]:
            line["when"] = line["when"][:19]
    console.show(book, as_json=json_)


@ledger_app.command("verify")
def ledger_verify(home: Home = None, json_: Json = False) -> None:
    """Check the chain; names the first bad line."""
    from pipelines import release as step

    verdict = step.ledger_verify(_settings(home)).to_dict()
    console.show(verdict, as_json=json_)
    sys.exit(0 if verdict["ok"] else 1)


@app.command()
def drift(landing: LandingPath, as_of: AsOf = None, home: Home = None, json_: Json = False) -> None:
    """The champion against its latest week; demotes it where the evidence says so."""
    from pipelines import drift as step
    from pipelines.verdict import announce

    settings = _settings(home)
    result = step.run(settings, landing, _date(as_of))
    done = announce(settings, result, who=_who(), now=datetime.now(UTC))
    shown = {**result.to_dict(), **done}
    if not json_:  # the regimes' reasons say what decided
        names = (
            "regime",
            "statistic",
            "value",
            "se",
            "low",
            "high",
            "evidence",
            "limit",
            "verdict",
        )
        shown["evidence"] = [{name: row[name] for name in names} for row in result.evidence]
    console.show(shown, as_json=json_)


@app.command()
def tca(landing: LandingPath, date: Date = None, home: Home = None, json_: Json = False) -> None:
    """Daily TCA of one date, the last landed one by default."""
    from pipelines import tca as step
    from pipelines.landing import Landing

    landed = Landing(landing).all_dates()
    if not landed:
        raise UsageError(f"landing zone {landing} holds no date")
    day = _date(date) or landed[-1]
    console.show(step.run_champion(_settings(home), landing, day).to_dict(), as_json=json_)


@app.command()
def sequence(
    file: Annotated[Path, typer.Argument(help="PROBLEM.json, or orders.csv with --model")],
    model: Annotated[
        str | None, typer.Option("--model", help="champion, challenger or a release id")
    ] = None,
    regime: Annotated[str, typer.Option(help="Whose matrix, with --model")] = "normal",
    rho: Annotated[
        float | None, typer.Option(help="Decay of impact per unit of time, with --model")
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
    from pipelines import sequence as step

    if model is None:
        answer = step.run(file, project=project, comparison=compare, report=report)
    elif rho is None:
        raise UsageError("--model needs --rho", "decay per unit of the orders' time, say 0.1")
    else:
        from pipelines import sequence_orders  # the registry: a problem file need not wait for it

        desk = sequence_orders.load(
            _settings(home), file, model, regime, rho, times=_times(times), objective=objective,
            spread=spread, pov=pov, day=day, no_blocks=no_blocks, full_span=full_span,
            project=project,
        )  # fmt: skip
        answer = step.answer(
            desk.task, desk.units, comparison=compare, facts=desk.facts, report=report
        )
    console.show(answer.to_dict(), as_json=json_)


def _times(text: str | None) -> list[float] | None:
    try:
        return [float(part) for part in text.split(",")] if text else None
    except ValueError as error:
        raise UsageError(f"--times {text!r} is not a list of numbers", "say 0,12,24") from error


@export_app.command("gamma")
def export_gamma(
    file: CsvFile, release: ReleaseOption = "champion", home: Home = None, json_: Json = False
) -> None:
    """regime,symbol_i,symbol_j,gamma_bps,se_bps; an absent pair is 0."""
    from pipelines import export as step

    console.show(step.export_gamma(_settings(home), file, release).to_dict(), as_json=json_)


@export_app.command("self")
def export_self(
    file: CsvFile, release: ReleaseOption = "champion", home: Home = None, json_: Json = False
) -> None:
    """regime,symbol,alpha_bps,beta_bps,se_alpha,se_beta."""
    from pipelines import export as step

    console.show(step.export_self(_settings(home), file, release).to_dict(), as_json=json_)


@export_app.command("violations")
def export_violations(file: CsvFile, home: Home = None, json_: Json = False) -> None:
    """table,date,file,row,key,rule_id,severity of everything validated under this home."""
    from pipelines import export as step

    rows = step.export_violations(_settings(home), None, file)
    console.show({"path": str(file), "rows": rows}, as_json=json_)


@export_app.command("regimes")
def export_regimes(
    file: CsvFile,
    flow: FlowOption = None,
    bucket: Bucket = "5min",
    home: Home = None,
    json_: Json = False,
) -> None:
    """ts,regime (bucket start, UTC) of every labelled date."""
    from pipelines import export as step

    settings = _settings(home, bucket, flow or "own")
    if flow is None and not (settings.home / "warehouse" / settings.feature_layer).exists():
        settings = _settings(home, bucket, "public")
    rows = step.export_regimes(settings, file)
    console.show({"path": str(file), "rows": rows}, as_json=json_)


if __name__ == "__main__":
    main()
