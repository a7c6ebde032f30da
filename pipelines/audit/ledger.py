"""The ledger of audits: an entry for every verdict on a date, which nothing ever changes.

`<home>/audit/date=D/<number>-<digest>.parquet` holds one entry, all of it: run and moment, landing
zone, files, rules, counts, problems, what became live, and every broken row. A file is created
whole, numbered under a lock, named by its own sha256 and names the one before it: a flipped bit, a
missing entry and one put in between are told by name. `<home>/audit/_last.json` names the last one
of every date, which no other does. An entry is written before its date becomes visible; a run that
is killed between the two leaves a verdict nobody read, and the next run's follows it. A verdict
that repeats the last one, word for word, is no news and makes no entry.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crossimpact import atomic
from crossimpact.errors import CrossImpactError, UsageError
from crossimpact.release.hash_chain import hold
from pipelines.audit.columns import ENTRY, WHEN
from pipelines.store.settings import Settings

FOLDER = "audit"
#: Names the last entry of each date; behind by one when a run was killed in between.
LAST = "_last.json"
_NAME = re.compile(r"(\d{6})-([0-9a-f]{16})\.parquet")
RESTORE = "restore the folder from a copy; what was judged is in the warehouse, unharmed"
Row = dict[str, Any]


@dataclass(frozen=True)
class Ledger:
    """The ledger of a home."""

    home: Path

    @classmethod
    def of(cls, settings: Settings) -> Ledger:
        return cls(settings.home)

    @cached_property
    def root(self) -> Path:
        return self.home / FOLDER

    def append(self, entry: Mapping[str, Any], broken: pa.Table) -> Row:
        """Add an entry with its broken rows unless it repeats the date's last; what now is last.

        Raises
        ------
        CrossImpactError
            When the ledger of that date is damaged.
        """
        date = str(entry["date"])
        with hold(self.root / ".lock", 60.0):
            known = self.files(date)
            last = self._entries(known[-1:])[0] if known else None
            entry = {**entry, "seq": len(known) + 1, "prev": known[-1].name if known else ""}
            content = _content(entry, broken)
            if last is not None and _same(last, _row(content)):
                return last
            name = f"{entry['seq']:06d}-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
            atomic.create(self._folder(date) / name, content)
            atomic.write_atomic(
                self.root / LAST, json.dumps(self._last_names() | {date: name}, sort_keys=True)
            )
        return _row(content)

    def files(self, date: str) -> list[Path]:
        """The entries of a date, oldest first, verified.

        Raises
        ------
        CrossImpactError
            Naming the first that is missing, or not what was written.
        """
        found = sorted(self._folder(date).glob("*.parquet"))
        last = self._last_names().get(date)
        if last is not None and last not in {path.name for path in found}:
            raise CrossImpactError(
                f"audit ledger {self._folder(date)}: its last entry {last} is missing", RESTORE
            )
        for number, path in enumerate(found, start=1):
            named = _NAME.fullmatch(path.name)
            if named is None or int(named[1]) != number:
                raise CrossImpactError(
                    f"audit ledger {self._folder(date)}: entry {number} is missing, or is there"
                    f" twice ({path.name} in its place)", RESTORE,
                )  # fmt: skip
            if hashlib.sha256(path.read_bytes()).hexdigest()[:16] != named[2]:
                raise CrossImpactError(
                    f"audit ledger entry {path} is damaged: its name holds another sha256",
                    RESTORE,
                )
        return found

    def dates(self) -> list[str]:
        """Dates with an entry, ascending."""
        found = {path.name.removeprefix("date=") for path in self.root.glob("date=*/")}
        return sorted(found | self._last_names().keys())

    def all_files(self) -> list[Path]:
        """Every entry, verified, by date.

        Raises
        ------
        UsageError
            When there is none: the home was mistyped, or nothing was ever validated in it.
        """
        files = [path for date in self.dates() for path in self.files(date)]
        if not files:
            raise UsageError(
                f"home {self.home} has no audit ledger: nothing was validated in it",
                "give --home, or run `crossimpact validate` first",
            )
        return files

    def entries(self, date: str) -> list[Row]:
        """The entries of a date, oldest first, without their broken rows."""
        return list(self._entries(self.files(date)))

    def last(self, date: str) -> Row | None:
        """The last of them."""
        entries = self._entries(self.files(date)[-1:])
        return entries[0] if entries else None

    def _entries(self, files: Sequence[Path]) -> list[Row]:
        names = [name for name in ENTRY.names if name != "violations"]
        rows = [pq.ParquetFile(path).read(names).to_pylist()[0] for path in files]
        for before, after, path in zip(files, rows[1:], files[1:], strict=False):
            if after["prev"] != before.name:
                raise CrossImpactError(
                    f"audit ledger entry {path} follows {after['prev']}, found {before.name}",
                    RESTORE,
                )
        return rows

    def _last_names(self) -> dict[str, str]:
        path = self.root / LAST
        try:
            return {str(date): str(name) for date, name in json.loads(path.read_text()).items()}
        except FileNotFoundError:  # of a home of before, or none yet
            return {}
        except (ValueError, AttributeError) as error:
            raise CrossImpactError(f"audit ledger {path} is damaged ({error})", RESTORE) from error

    def _folder(self, date: str) -> Path:
        return self.root / f"date={date}"


def _content(entry: Mapping[str, Any], broken: pa.Table) -> bytes:
    """An entry as the bytes of a Parquet file of one row."""
    kind = ENTRY.field("violations").type
    rows = pa.ListArray.from_arrays([0, broken.num_rows], _struct(broken, kind.value_type))
    columns = [
        rows if field.name == "violations" else pa.array([entry.get(field.name)], field.type)
        for field in ENTRY
    ]
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(columns, schema=ENTRY), stream, compression="zstd")
    return stream.getvalue()


def _struct(broken: pa.Table, kind: pa.StructType) -> pa.StructArray:
    fields = [kind.field(i) for i in range(kind.num_fields)]
    arrays = [broken[field.name].combine_chunks() for field in fields]
    return pa.StructArray.from_arrays(arrays, fields=fields)


def _row(content: bytes) -> Row:
    names = [name for name in ENTRY.names if name != "violations"]
    return dict(pq.read_table(io.BytesIO(content), columns=names).to_pylist()[0])


def _same(old: Row, new: Row) -> bool:
    """Whether two entries say the same, whoever says it when."""
    return dict(_facts(old)) == dict(_facts(new))


def _facts(entry: Row) -> Iterator[tuple[str, Any]]:
    for name, value in entry.items():
        if name == "files":
            yield name, [{k: v for k, v in file.items() if k != "mtime"} for file in value]
        elif name not in WHEN:
            yield name, value
