"""Partitions a landed date must have, and what lies in them that nobody would read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from crossimpact import contract
from crossimpact.errors import UsageError
from pipelines.store.landing import Landing, Problem

IDLE_DAY = " (a day on which the desk was idle: land empty files)"
OPTIONAL_WHOLE = " (the table is optional: land it on every date or on none)"


def tables_of(landing: Landing, date: str) -> list[str]:
    """Tables this date must have and optional ones it has, in the contract's order."""
    demanded = landing.demanded()
    tables = [name for name in contract.TABLES if name in demanded or date in landing.dates(name)]
    if not any(date in landing.dates(name) for name in tables):
        raise UsageError(
            f"date {date} is in no table of landing {landing.root}", "take one that is landed"
        )
    return tables


def absent(landing: Landing, date: str) -> list[Problem]:
    """What keeps a date from being read: partitions that are not there, files of another kind."""
    unread = [*strangers(landing, date)]
    told = {problem.table for problem in unread}  # the file that is there under another name
    problems = []
    for name in landing.demanded():
        if not landing.dates(name):
            text = f"no partition below {landing.root / name}"
            problems.append(Problem(name, date, "", contract.MISSING_TABLE, text))
        elif not landing.files(name, date) and name not in told:
            text = f"no Parquet or CSV file in {landing.root / name}/date={date}"
            text += OPTIONAL_WHOLE if contract.TABLES[name].optional else ""
            text += IDLE_DAY if name in contract.DESK_TABLES else ""
            problems.append(Problem(name, date, "", contract.MISSING_PARTITION, text))
    return [*problems, *unread]


def strangers(landing: Landing, date: str) -> Iterator[Problem]:
    """What lies in a partition and would not be read, or is not what its producer promised."""
    for name in contract.TABLES:
        for path in landing.unexpected_files(name, date):
            text = f"{path.name} is {_what(path)}"
            yield Problem(name, date, "", contract.UNREADABLE, text)
        for text in landing.broken_promises(name, date):
            yield Problem(name, date, "", contract.MANIFEST, text)


def _what(path: Path) -> str:
    """What is wrong with a thing that nobody would read, and what to do."""
    if path.is_dir():
        return "a folder: files lie in the partition's folder itself"
    if not path.is_file():
        return "no regular file (a pipe, a socket, a device, or a link to nothing): land a file"
    kind = "neither a .parquet nor a .csv file"
    if path.suffix.lower() in (".parquet", ".csv"):
        return f"{kind}: write the ending in lower case"
    return f"{kind}: unpack it" if path.suffix in (".gz", ".zst", ".zip", ".bz2") else kind
