"""What lies in a date's partitions, file by file, as it was when it was judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.store.landing import Landing
from pipelines.store.warehouse import readable, text_sha256


@dataclass(frozen=True)
class LandedFile:
    """A landed file: its path below the landing root, size, bytes, and time of change."""

    table: str
    path: str
    size: int
    sha256: str
    mtime: float

    @property
    def name(self) -> str:
        return Path(self.path).name


def landed(landing: Landing, table: str, date: str) -> tuple[LandedFile, ...]:
    """The files of a partition by name."""
    return tuple(_landed(landing, table, path) for path in landing.files(table, date))


def digest(files: Iterable[LandedFile]) -> str:
    """sha256 over names and bytes, as `Landing.digest` has it."""
    return text_sha256(*(text for file in files for text in (file.name, file.sha256)))


def _landed(landing: Landing, table: str, path: Path) -> LandedFile:
    facts = path.stat()
    place = path.relative_to(landing.root).as_posix()
    return LandedFile(table, place, facts.st_size, landing.sha256(path), float(int(facts.st_mtime)))


def count_rows(path: Path) -> int | None:
    """Rows in a landed file; None when it cannot be read."""
    try:
        if path.suffix == ".parquet":
            return int(pq.read_metadata(path).num_rows)
        with duckdb.connect() as connection:
            query = "SELECT count(*) FROM read_csv($path, all_varchar = true, header = true)"
            row = connection.execute(query, {"path": readable(path)}).fetchone()
            return int(row[0]) if row else None
    except (pa.ArrowException, OSError, duckdb.Error):
        return None
