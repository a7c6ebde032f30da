"""Whether a folder is a landing zone at all, told before anything is read or imported."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

from crossimpact import contract
from crossimpact.errors import UsageError

_DATE = re.compile(r"date=(\d{4}-\d{2}-\d{2})")


def check(root: Path, now: datetime | None = None) -> None:
    """Raise the `UsageError` of a folder that is missing or holds no partition of any table.

    With `now` also that of a zone whose last date is in the future.
    """
    if not root.is_dir():
        raise UsageError(f"landing folder {root} is missing", "give the folder of the tables")
    zone = ((root / name).glob("date=*") for name in contract.TABLES)
    landed = [path.name for table in zone for path in table if path.is_dir()]
    if not landed:
        raise empty(root)
    dates = [result[1] for name in landed if (result := _DATE.fullmatch(name))]
    if now and dates:
        refuse_future(max(dates), now, f"landing zone {root}")


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
