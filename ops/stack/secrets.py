"""Secrets of the service: made once into a file only its owner reads, and checked when read.

`python -m ops.stack.secrets make|check [FILE]`; the file is `.env`, which Compose reads by itself.
"""

from __future__ import annotations

import argparse
import base64
import re
import secrets
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from crossimpact.errors import CrossImpactError, UsageError
from ops.airflow_env import ROOT
from ops.credentials import write_private

FILE = ROOT / ".env"
#: Characters at least of a password, and of a key that signs.
PASSWORD, KEY = 20, 60
FERNET = "AIRFLOW_FERNET_KEY"
#: What each is for, and how long it has to be.
NAMES: Mapping[str, int] = {
    "POSTGRES_PASSWORD": PASSWORD,
    "AIRFLOW_DB_PASSWORD": PASSWORD,
    "CELERY_DB_PASSWORD": PASSWORD,
    "MLFLOW_DB_PASSWORD": PASSWORD,
    "MLFLOW_AUTH_DB_PASSWORD": PASSWORD,
    "METRICS_DB_PASSWORD": PASSWORD,
    "REDIS_PASSWORD": PASSWORD,
    "AIRFLOW_JWT_SECRET": KEY,
    "AIRFLOW_SESSION_KEY": KEY,
    FERNET: 44,
    "MLFLOW_PASSWORD": PASSWORD,
    "MLFLOW_SESSION_KEY": KEY,
    "OPERATOR_PASSWORD": PASSWORD,
    "APPROVER_PASSWORD": PASSWORD,
    "AUDITOR_PASSWORD": PASSWORD,
    "PROMETHEUS_PASSWORD": PASSWORD,
    "GRAFANA_PASSWORD": PASSWORD,
}
#: In whatever case, alone or strung together with digits: everybody tries these first.
WELL_KNOWN = re.compile(
    r"(?:admin|airflow|airflow_jwt_secret|changeme|change_?me|crossimpact|default|grafana|mlflow"
    r"|password|passw0rd|postgres|prometheus|redis|root|secret|temporary_key|test|[0-9]|[-_])+",
    re.IGNORECASE,
)
#: What stands in an address without being escaped, and in a file of Compose without quotes.
PLAIN = re.compile(r"[A-Za-z0-9_=-]*")


def generate() -> dict[str, str]:
    """A value for every name: 32 random bytes for a password, 64 for a key."""
    made = {name: secrets.token_urlsafe(64 if n == KEY else 32) for name, n in NAMES.items()}
    return made | {FERNET: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}


def problems(values: Mapping[str, str], names: Mapping[str, int] = NAMES) -> Iterator[str]:
    """A line for each that is missing or weak; it never repeats a value."""
    for name, least in names.items():
        value = values.get(name, "")
        if not value:
            yield f"{name} is missing"
        elif len(value) < least:
            yield f"{name} has {len(value)} characters, {least} at least are needed"
        elif WELL_KNOWN.fullmatch(value):
            yield f"{name} is a well-known value"
        elif not PLAIN.fullmatch(value):
            yield f"{name} holds characters other than letters, digits, - and _"
        elif len(set(value)) < 10:
            yield f"{name} has {len(set(value))} different characters, 10 at least are needed"
    used: dict[str, str] = {}
    for name in names:
        if (value := values.get(name, "")) and (other := used.setdefault(value, name)) != name:
            yield f"{name} is the same as {other}"


def read(path: Path) -> dict[str, str]:
    """The file's values, unchecked."""
    if not path.exists():
        raise UsageError(f"there are no secrets in {path}", "run `make secrets`")
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def check(path: Path = FILE) -> dict[str, str]:
    """The file's values, when they are good and nobody else can read them.

    Raises
    ------
    UsageError
        With a line for every problem.
    """
    values = read(path)
    found = list(problems(values))
    if mode := stat.S_IMODE(path.stat().st_mode) & 0o077:
        found.insert(0, f"mode {mode:03o} of {path} lets others at it: chmod 600 {path}")
    refuse(found)
    return values


def refuse(found: list[str]) -> None:
    """Raise what was found, all of it."""
    if found:
        raise UsageError(
            "the secrets are not good enough:\n  " + "\n  ".join(found),
            "`make secrets` makes a whole set where there is no file yet",
        )


def make(path: Path = FILE) -> None:
    """Write the file with mode 0600; one that is there is never replaced."""
    if path.exists():
        raise UsageError(
            f"{path} is there already and is not replaced: the databases know its passwords",
            "`python -m ops.stack.secrets check` tells whether it is good; to make others, see "
            "docs/service.md",
        )
    lines = [f"{name}={value}\n" for name, value in generate().items()]
    write_private(
        path, "# Secrets of docker-compose.yml; never into the repository.\n" + "".join(lines)
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.stack.secrets", description=__doc__)
    parser.add_argument("action", choices=["make", "check"])
    parser.add_argument("file", nargs="?", type=Path, default=FILE)
    arguments = parser.parse_args(argv)
    actions: dict[str, Callable[[Path], object]] = {"make": make, "check": check}
    try:
        actions[arguments.action](arguments.file)
    except CrossImpactError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    done = {"make": "written with mode 0600; keep a copy where you keep such things"}
    print(f"{arguments.file}: {done.get(arguments.action, 'ok')}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
