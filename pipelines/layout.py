"""Whether a folder is a landing zone at all, told before anything is read or imported."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from crossimpact import contract
from crossimpact.errors import UsageError


def check(root: Path) -> None:
    """Raise the `UsageError` of a folder that is missing or holds no partition of any table."""
    if not root.is_dir():
        raise UsageError(f"landing folder {root} is missing", "give the folder of the tables")
    if not any(path.is_dir() for name in contract.TABLES for path in (root / name).glob("date=*")):
        raise empty(root)


def refuse_future(date: str, now: datetime, where: str) -> None:
    """Raise the `UsageError` of a date that has come nowhere yet; `where` it was found."""
    last = (now + timedelta(days=contract.MAX_DAYS_AHEAD)).date().isoformat()
    if date > last:
        raise UsageError(
            f"{where}: {date} is in the future, today is {now.date()} in UTC",
            "mend the date, or the clock",
        )


def empty(root: Path) -> UsageError:
    """The error of a zone without any date, with a guess what folder was meant."""
    return UsageError(f"landing zone {root} holds no date", _guess(root))


def _guess(root: Path) -> str:
    if any(root.glob("date=*")):
        return f"that is one table's folder: give {root.resolve().parent}"
    inner = [path for path in sorted(root.glob("*/*/date=*")) if path.is_dir()]
    if inner:
        return f"give {inner[0].parent.parent}"
    return "land <table>/date=YYYY-MM-DD/*.parquet; `crossimpact contract` lists the tables"
