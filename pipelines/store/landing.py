"""The landing zone: its partitions, what their producer says of them, what is not read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date as calendar_date
from pathlib import Path

from crossimpact import contract
from crossimpact.errors import ContractViolation, UsageError
from pipelines.store.warehouse import file_sha256, text_sha256

#: What a producer may say of a partition: `rows` and `sha256`, of all of it or by file.
MANIFEST = "_manifest.json"
#: Beside the tables, in the root: other than these are named as not read.
KNOWN_IN_ROOT = ("calendar.toml", "waivers.toml")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, order=True)
class Problem:
    """A broken table: which rule, on which column (empty: the table as a whole), and the facts."""

    table: str
    date: str
    column: str
    rule: str
    text: str

    def __str__(self) -> str:
        place = f"{self.table}.{self.column}" if self.column else self.table
        return f"{place}: {self.rule} on {self.date}: {self.text}"


class Landing:
    """The partitions `<root>/<table>/date=YYYY-MM-DD/*.{parquet,csv}`.

    Raises
    ------
    UsageError
        When the folder is missing.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UsageError(f"landing folder {root} is missing", "give the folder of the tables")
        self.root = root
        self._digests: dict[tuple[Path, int, int, int], str] = {}

    def tables(self) -> list[str]:
        """Contract tables with at least one partition, in the contract's order."""
        return [table for table in contract.TABLES if self.dates(table)]

    def dates(self, table: str) -> list[str]:
        """The table's partition dates, ascending."""
        folders = (self.root / table).glob("date=*")
        return sorted(_partition_date(folder) for folder in folders if folder.is_dir())

    def all_dates(self) -> list[str]:
        """Dates on which any table has a partition, ascending."""
        return sorted({date for table in contract.TABLES for date in self.dates(table)})

    def files(self, table: str, date: str) -> list[Path]:
        """Data files of a partition by name; hidden and underscored names are a writer's own."""
        folder = self.root / table / f"date={date}"
        paths = [*folder.glob("*.parquet"), *folder.glob("*.csv")]
        return sorted(path for path in paths if path.name[0] not in "._" and path.is_file())

    def unexpected_files(self, table: str, date: str) -> list[Path]:
        """What else lies in a partition's folder, a writer's own hidden names aside."""
        folder, known = self.root / table / f"date={date}", self.files(table, date)
        result = sorted(folder.iterdir()) if folder.is_dir() else []
        return [path for path in result if path.name[0] not in "._" and path not in known]

    def digest(self, table: str, date: str) -> str:
        """sha256 over the names and bytes of the partition's files, and its producer's manifest."""
        paths = self.files(table, date)
        manifest = self.root / table / f"date={date}" / MANIFEST
        paths += [manifest] if manifest.is_file() else []
        names = [(path.name, self.sha256(path)) for path in paths]
        return text_sha256(*(text for pair in names for text in pair))

    def sha256(self, path: Path) -> str:
        """Digest of a file, read once as long as it stays the same to the file system."""
        stat = path.stat()
        key = (path, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if key not in self._digests:
            self._digests[key] = file_sha256(path)
        return self._digests[key]

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def unread(self) -> list[str]:
        """Everything in the zone that nobody reads, relative to its root, writers' marks aside."""
        return sorted(self._unread())

    def _unread(self) -> Iterator[str]:
        for path in self.root.iterdir():
            if path.name in contract.TABLES and path.is_dir():
                yield from self._unread_of(path)
            elif path.name not in KNOWN_IN_ROOT and not _is_mark(path):
                yield f"{path.name}/" if path.is_dir() else path.name

    def _unread_of(self, table: Path) -> Iterator[str]:
        for path in table.iterdir():
            if not (path.is_dir() and path.name.startswith("date=")):
                if not _is_mark(path):
                    yield self.relative(path) + ("/" if path.is_dir() else "")
                continue
            read = {*self.files(table.name, path.name.removeprefix("date="))}
            rest = (other for other in path.iterdir() if other not in read)
            yield from (self.relative(other) for other in rest if not _is_mark(other))

    def broken_promises(self, table: str, date: str) -> Iterator[str]:
        """What a partition's manifest says and its files are not; nothing without a manifest."""
        path = self.root / table / f"date={date}" / MANIFEST
        if not path.is_file():
            return
        try:
            told = json.loads(path.read_text())
            by_file = {str(name): dict(facts) for name, facts in told.get("files", {}).items()}
        except (ValueError, AttributeError, TypeError) as error:
            yield f"{MANIFEST} cannot be read ({error})"
            return
        files = {file.name: file for file in self.files(table, date)}
        yield from (f"{name} is promised and not there" for name in sorted(by_file.keys() - files))
        digests = {name: file_sha256(files[name]) for name in by_file.keys() & files.keys()}
        for name, digest in sorted(digests.items()):
            if by_file[name].get("sha256", digest) != digest:
                yield f"{name} has sha256 {digest[:12]}, promised {by_file[name]['sha256'][:12]}"
        if "sha256" in told and [*map(file_sha256, files.values())] != [told["sha256"]]:
            yield f"the partition is not the one file of sha256 {str(told['sha256'])[:12]}"

    def promised_rows(self, table: str, date: str) -> int | None:
        """Rows the partition's manifest promises, if it does."""
        path = self.root / table / f"date={date}" / MANIFEST
        if not path.is_file():
            return None
        try:
            told = json.loads(path.read_text())
            rows = [facts.get("rows") for facts in told.get("files", {}).values()]
            total = told.get("rows", sum(rows) if rows and None not in rows else None)
            return None if total is None else int(total)
        except (OSError, ValueError, AttributeError, TypeError):
            return None

    @property
    def has_parents(self) -> bool:
        """Whether any parent order partition is landed (else the landing is public data only)."""
        return bool(self.dates("parent_orders"))

    def demanded(self) -> list[str]:
        """Tables every date must have.

        The desk's own only when one of them is landed at all, an optional one when it is on any
        date: a day that lost its partition must not pass for a day without events.
        """
        desk = any(self.dates(table) for table in contract.DESK_TABLES)
        return [
            name
            for name, table in contract.TABLES.items()
            if (self.dates(name) if table.optional else desk or name not in contract.DESK_TABLES)
        ]


def _partition_date(folder: Path) -> str:
    text = folder.name.removeprefix("date=")
    try:
        if _DATE.fullmatch(text) and calendar_date.fromisoformat(text):
            return text
    except ValueError:
        pass  # not a calendar date: reported below, with the malformed ones
    raise ContractViolation(
        f"partition folder {folder} of table {folder.parent.name} is not a date",
        "name it date=YYYY-MM-DD",
    )


def _is_mark(path: Path) -> bool:
    """A writer's own file: hidden or underscored, and not one of data."""
    return path.name[0] in "._" and not path.is_dir() and path.suffix not in (".parquet", ".csv")
