"""Arguments and options that commands share, and what their words mean.

Everything wrong with a word is said here, before a command imports what it runs.
"""

from __future__ import annotations

import getpass
import os
import sys
import uuid
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import typer

from crossimpact.errors import UsageError
from pipelines.store import layout
from pipelines.store.settings import Flow, Run, Settings, default_home, home_at, parse_bucket

#: The password of an override's approver, where MLflow asks for logins.
APPROVER = "CROSSIMPACT_APPROVER_PASSWORD"

Home = Annotated[
    Path | None,
    typer.Option("--home", help="Where state lives [default: $CROSSIMPACT_HOME or .crossimpact]"),
]
Json = Annotated[bool, typer.Option("--json", help="Machine output on stdout")]
LandingPath = Annotated[
    Path, typer.Argument(help="Landing zone: <table>/date=YYYY-MM-DD/*.parquet")
]
CsvFile = Annotated[Path, typer.Argument(help="CSV file to write")]
Date = Annotated[str | None, typer.Option("--date", help="One trading date, YYYY-MM-DD")]
AsOf = Annotated[str | None, typer.Option("--as-of", help="Last date read, YYYY-MM-DD")]
Bucket = Annotated[str, typer.Option(help="Bucket width: 30s, 5min, 1h")]
FlowOption = Annotated[
    Literal["own", "public"] | None,
    typer.Option("--flow", help="Whose flow is q [default: own where the desk's orders are]"),
]
EngineOption = Annotated[
    Literal["local", "ray"],
    typer.Option("--engine", help="Who does the dates and fits: this process, or Ray's workers"),
]
Address = Annotated[
    str | None,
    typer.Option(help="Ray cluster, host:port or auto [default: this machine's cores]"),
]
ReleaseOption = Annotated[
    str, typer.Option("--release", help="champion, challenger or a release id")
]
Candidate = Annotated[str | None, typer.Option(help="Release id [default: challenger]")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the record")]


def settings(home: Path | None, bucket: str = "5min", flow: Flow = "own") -> Settings:
    """Settings of a command that may begin a home."""
    place = home_at(home) if home else default_home()
    if place.exists() and not place.is_dir():
        raise UsageError(f"home {place} is not a folder")
    run = Run(run_id(), now(), who())
    return Settings(home=place, bucket_s=parse_bucket(bucket), flow=flow, run=run)


def known_home(home: Path | None, bucket: str = "5min", flow: Flow = "own") -> Settings:
    """Settings of a command that reads a home: one that is not there was mistyped."""
    result = settings(home, bucket, flow)
    if not result.home.is_dir():
        raise UsageError(
            f"home {result.home} does not exist", "give --home, or refit first to begin one"
        )
    return result


def landing_zone(path: Path, last: str | None) -> Path:
    """A folder that holds a partition of some table, else a usage error.

    So is one whose dates reach into the future, unless they are read up to `last` alone.
    """
    layout.check(path, None if last else now())
    return path


def date(text: str | None) -> str | None:
    """A calendar date in ISO 8601, no later than it is anywhere."""
    try:
        result = datetime.strptime(text, "%Y-%m-%d").date() if text else None
    except ValueError as error:
        raise UsageError(f"{text!r} is not a date", "write it like 2026-03-27") from error
    if result:
        layout.refuse_future(result.isoformat(), now(), "date asked for")
    return result.isoformat() if result else None


def moment(text: str | None) -> datetime | None:
    """A moment that has come; one without a zone is UTC."""
    try:
        result = datetime.fromisoformat(text) if text else None
        moment = result.replace(tzinfo=result.tzinfo or UTC).astimezone(UTC) if result else None
    except (ValueError, OverflowError) as error:  # the latter: before year 1, after year 9999
        raise UsageError(f"{text!r} is not a moment", "write it like 2026-03-27T14:30Z") from error
    if moment and moment > now():
        raise UsageError(f"{moment.isoformat()} is in the future", "leave it out for what is live")
    return moment


def numbers(text: str | None, option: str) -> list[float] | None:
    """A list of numbers by commas."""
    try:
        return [float(part) for part in text.split(",")] if text else None
    except ValueError as error:
        raise UsageError(f"{option} {text!r} is not a list of numbers", "say 0,12,24") from error


def who() -> str:
    """The user for the ledger, as UTF-8; a container's nameless user is its number."""
    try:
        name = os.environ.get("CROSSIMPACT_USER") or getpass.getuser()
        return os.fsencode(name).decode(errors="backslashreplace")
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def approver_password(approver: str) -> str:
    """From the environment, where no child process finds it any longer, else the terminal."""
    if (given := os.environ.pop(APPROVER, None)) is not None:
        return given
    if not sys.stdin.isatty():
        raise UsageError(
            f"MLflow asks for the password of approver {approver}, and there is no terminal",
            f"set {APPROVER}",
        )
    return getpass.getpass(f"Password of {approver} in MLflow: ")


@cache
def run_id() -> str:
    """Of this run, in logs and in the ledger of audits: `$CROSSIMPACT_RUN_ID`, or a new one."""
    return os.environ.get("CROSSIMPACT_RUN_ID") or uuid.uuid4().hex[:12]


def now() -> datetime:
    """The clock, which nothing below the command line reads."""
    return datetime.now(UTC)
