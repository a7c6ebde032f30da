"""`waivers.toml`, in the landing zone or the home: who answers for which broken rule, until when.

[[waiver]]
rule = "fill_near_mid"
table = "child_fills"
symbols = ["AAA"]            # optional, as are first and last (trading dates)
owner = "ann@desk"
reason = "auction prints, ticket 4711"
expires = 2026-03-31
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from crossimpact.errors import UsageError
from crossimpact.waiver import Waiver, Waivers
from pipelines.audit import rules, zone
from pipelines.audit.history import opened, rows
from pipelines.store.settings import Settings

FILE = "waivers.toml"
HINT = "every key is in docs/audit.md"


@dataclass(frozen=True)
class Listed:
    """Every waiver of the home's and the landing zone's files, and what it covers now."""

    today: str
    waivers: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def load(settings: Settings, landing: Path | None) -> Waivers:
    """The waivers of a landing zone and its home; today is the run's day.

    Raises
    ------
    UsageError
        When a file cannot be read, naming every wrong key, or speaks of an unknown rule.
    """
    places = [settings.home, *([landing] if landing else [])]
    known = [waiver for place in places for waiver in _read(place / FILE)]
    today = settings.run.at.date().isoformat() if settings.run.at else ""
    return Waivers(tuple(sorted(known)), today)


def listed(settings: Settings, landing: Path | None = None) -> Listed:
    """What `load` gives, each with its state and the open rows it speaks of.

    Raises
    ------
    UsageError
        Also when the home has no ledger.
    """
    waivers = load(settings, landing or zone.recorded(settings.home))
    with opened(settings) as connection:
        query = "SELECT date, \"table\", rule, symbol FROM history WHERE status = 'open'"
        broken = rows(connection, query)
    told = []
    for waiver in waivers.known:
        covered = sum(
            waiver.covers(row["rule"], row["table"], row["date"], row["symbol"] or "")
            for row in broken
        )
        state = "active" if waiver.active(waivers.today) else "expired, does not count"
        told.append({**asdict(waiver), "symbols": ", ".join(waiver.symbols), "state": state,
                     "open_rows": covered})  # fmt: skip
    return Listed(waivers.today, told)


def _read(path: Path) -> list[Waiver]:
    if not path.exists():
        return []
    try:
        if not path.is_file():  # reading a pipe would wait for its writer
            raise OSError("no regular file")
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"waivers {path} cannot be read ({error})", "write it as TOML") from error
    from pipelines.store.checked import checked  # pydantic is for homes that have the file

    if stranger := [name for name in plain if name != "waiver"]:
        raise UsageError(f"waivers {path}: unknown key {stranger[0]}", HINT)
    made = [
        checked(Waiver, _texts(row), f"waivers {path}, waiver {number}", HINT)
        for number, row in enumerate(plain.get("waiver", ()), start=1)
    ]
    known = _rules()
    for waiver in made:
        if (waiver.table, waiver.rule) not in known:
            raise UsageError(f"waivers {path}: {waiver.table} has no rule {waiver.rule}", HINT)
    return made


def _rules() -> set[tuple[str, str]]:
    """(table, rule) of every rule, those of cells by the names that violations have."""
    named = {(key.partition(".")[0], key.partition(".")[2]) for key in rules.digests()}
    cells = {(t, r.removesuffix(".bounds")) for t, r in named if r.endswith(".bounds")}
    return (
        named
        | {(t, f"{c}.{kind}") for t, c in cells for kind in CELL_RULES}
        | {(table, "cast") for table, _ in named}
    )


CELL_RULES = ("not_null", "range", "pattern", "values")


def _texts(row: Any) -> Any:
    """TOML's dates as text."""
    if not isinstance(row, dict):
        return row
    return {k: v.isoformat() if isinstance(v, date) else v for k, v in row.items()}
