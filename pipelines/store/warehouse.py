"""Partitions on disk: Parquet plus a manifest is the truth, DuckDB only computes.

`<home>/warehouse/<layer>/<table>/date=D/_manifest.json` names the one valid file of a partition.
Data are written under their own sha256, the manifest then moves by atomic rename, so a reader sees
the old partition or the new one, a rerun with the same inputs changes nothing, and a superseded
file stays for the auditor.

What judging a date makes (`JUDGED`, all tables) becomes visible together: one manifest,
`days/date=D/_manifest.json`, lists all of it. Homes of before have a manifest per partition; those
are read where a date has no other.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from crossimpact import contract
from crossimpact.errors import CrossImpactError, Unavailable
from pipelines.store import row_groups, scratch
from pipelines.store.files import Files, LocalFiles, Version
from pipelines.store.manifest import DAYS, JUDGED, MANIFEST, Day, parsed
from pipelines.store.manifest import Manifest as Manifest
from pipelines.store.manifest import text_sha256 as text_sha256
from pipelines.store.settings import SQL_DIR, Settings

T = TypeVar("T")
#: What a full disk says; somebody may make room before the next try.
NO_SPACE = os.strerror(errno.ENOSPC)
#: What a writer that was killed leaves.
DRAFTS = ".*.tmp"


class Warehouse:
    """The partitions below one home.

    Parameters
    ----------
    settings
        Home and memory limit.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def files_at(self) -> Files:
        """Where the partitions lie."""
        return located(self.settings)

    @property
    def root(self) -> Path:
        """The folder of the data files, or of their staged copies."""
        return self.files_at.root

    @contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A private in-memory DuckDB: offline, UTC, one thread so that sums are reproducible."""
        with scratch.folder(self.settings.home) as spill:
            connection = duckdb.connect(
                ":memory:",
                config={
                    "autoinstall_known_extensions": False,
                    "autoload_known_extensions": False,
                    "threads": 1,
                    "memory_limit": self.settings.memory_limit,
                    "temp_directory": str(spill),
                },
            )
            try:
                connection.execute("SET TimeZone = 'UTC'")
                yield connection
            except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
                kind = Unavailable if NO_SPACE in str(error) else CrossImpactError
                raise kind(
                    f"DuckDB: {str(error).splitlines()[0]}", "check disk space, memory and the path"
                ) from error
            except RuntimeError as error:
                if "interrupted" in str(error):  # what DuckDB makes of Ctrl-C
                    raise KeyboardInterrupt from error
                raise
            finally:
                connection.close()

    def folder(self, layer: str, table: str, date: str) -> Path:
        return self.root / layer / table / f"date={date}"

    def manifest(self, layer: str, table: str, date: str) -> Manifest | None:
        """The partition's manifest, or None when it was never published."""
        day = self._judged(date) if layer in JUDGED else None
        return self._single(layer, table, date) if day is None else day.find(layer, table)

    def day(self, date: str) -> Day | None:
        """What is live of a judged date; None when it never was."""
        if (day := self._judged(date)) is not None:
            return day
        singles = (self._single(layer, t, date) for t in contract.TABLES for layer in JUDGED)
        found = tuple(manifest for manifest in singles if manifest)
        return Day(date, found) if found else None

    def draft(self, date: str) -> Draft:
        """A place to write a date's judged partitions that nobody sees until they are shown."""
        return Draft(self.settings, date)

    def sweep(self) -> None:
        """Remove what killed writers left half written; nothing while anybody writes."""
        places = (self.root, self.settings.home / "audit")
        left = [path for place in places for path in place.rglob(DRAFTS)]  # listed first: who
        # comes now writes others
        if left and scratch.idle(self.settings.home):
            for path in left:
                path.unlink(missing_ok=True)

    def _single(self, layer: str, table: str, date: str) -> Manifest | None:
        return self._pointer(_key(layer, table, date), lambda plain: Manifest(**plain))

    def _pointer(self, key: str, parse: Callable[[dict[str, Any]], T]) -> T | None:
        return parsed(self.files_at.read(key), self.root / key, parse)

    def _judged(self, date: str) -> Day | None:
        def day(plain: dict[str, Any]) -> Day:
            return Day(plain["date"], tuple(Manifest(**row) for row in plain["partitions"]))

        return self._pointer(_day_key(date), day)

    def _seen(self, layer: str, table: str, date: str) -> Version:
        """What is valid before a partition is written."""
        return self.files_at.version(_key(layer, table, date))

    def _point(self, manifest: Manifest, seen: Version) -> None:
        """Make a written partition the valid one."""
        key = _key(manifest.layer, manifest.table, manifest.date)
        content = json.dumps(asdict(manifest), sort_keys=True)
        self.files_at.replace(key, content.encode(), seen)

    def publish(
        self,
        connection: duckdb.DuckDBPyConnection,
        query: str,
        layer: str,
        table: str,
        date: str,
        *,
        inputs: Mapping[str, str],
        extra: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """Write the rows of `query` (it states its order) as the partition's only valid content."""
        folder, seen = self.folder(layer, table, date), self._seen(layer, table, date)
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{uuid.uuid4().hex}.tmp"
        try:
            rows = row_groups.write(connection, query, draft)
            sha256 = file_sha256(draft)
            manifest = Manifest(
                layer, table, date, f"{sha256[:16]}.parquet", rows, sha256, inputs, extra or {}
            )
            self.files_at.put(_key(layer, table, date, manifest.file), draft)
        finally:
            draft.unlink(missing_ok=True)
        self._point(manifest, seen)
        return manifest

    def file(self, manifest: Manifest) -> Path:
        """The manifested file, verified against its digest (a flipped bit reads back silently)."""
        path = self.part(manifest.layer, manifest.table, manifest.date, manifest.file)
        result = file_sha256(path) if path.exists() else "missing"
        if result != manifest.sha256:
            raise CrossImpactError(
                f"{path} does not match its manifest (sha256 {result[:12]}, "
                f"expected {manifest.sha256[:12]})",
                "delete the partition and rerun",
            )
        return path

    def part(self, layer: str, table: str, date: str, name: str) -> Path:
        """A partition's file on this machine, live or superseded; it may not exist."""
        return self.files_at.local(_key(layer, table, date, name))

    def layers(self) -> list[str]:
        """Names of the layers, ascending."""
        return sorted(self.files_at.layers())

    def files(self, layer: str, table: str, dates: Iterable[str]) -> list[str]:
        """Verified files of the published partitions among `dates`, in order, as `readable`."""
        manifests = (self.manifest(layer, table, date) for date in dates)
        return [readable(self.file(manifest)) for manifest in manifests if manifest]

    def attach(
        self,
        connection: duckdb.DuckDBPyConnection,
        layer: str,
        table: str,
        dates: Iterable[str],
        *,
        dated: bool = False,
        view: bool = False,
    ) -> None:
        """Give the connection the partitions of `dates`, in order, as one table of its name.

        Parameters
        ----------
        dates
            Each must be published.
        dated
            Add the `date` column that the folders' names hold.
        view
            Read the files when they are asked for instead of now.

        Raises
        ------
        CrossImpactError
            When a partition was never published, or does not match its manifest.
        """
        dates = list(dates)
        absent = [date for date in dates if self.manifest(layer, table, date) is None]
        if absent:
            raise CrossImpactError(
                f"{', '.join(absent)} have no {table} in {layer}", "rerun the step that makes them"
            )
        files = ", ".join(f"'{quoted(file)}'" for file in self.files(layer, table, dates))
        folders = "true, hive_types = {'date': DATE}" if dated else "false"
        connection.execute(
            f"CREATE {'VIEW' if view else 'TABLE'} {table} AS"
            f" SELECT * FROM read_parquet([{files}], hive_partitioning = {folders})"
        )

    def rows(
        self, layer: str, table: str, date: str, columns: list[str] | None = None
    ) -> list[dict[str, Any]] | None:
        """Rows of a partition in its order; None when it was never published."""
        from pyarrow import parquet  # not for those who only publish

        manifest = self.manifest(layer, table, date)
        if manifest is None:
            return None
        rows: list[dict[str, Any]] = (
            parquet.ParquetFile(self.file(manifest)).read(columns).to_pylist()
        )
        return rows

    def dates(self, layer: str, table: str) -> list[str]:
        """Published dates, ascending."""
        found = {*self._dates(layer, table)}
        if layer in JUDGED:
            judged = {*self.files_at.dates(DAYS)}
            found = found - judged | {d for d in judged if self.manifest(layer, table, d)}
        return sorted(found)

    def last_date(self, layer: str, table: str) -> str | None:
        """The last of `dates`, without reading them all."""
        judged = self.files_at.dates(DAYS) if layer in JUDGED else []
        found = sorted({*self._dates(layer, table), *judged}, reverse=True)
        return next((date for date in found if self.manifest(layer, table, date)), None)

    def judged_dates(self) -> list[str]:
        """Dates of which anything that was judged is live, ascending."""
        singles = [f"{layer}/{t}" for layer in JUDGED for t in contract.TABLES]
        return sorted({d for prefix in (DAYS, *singles) for d in self.files_at.dates(prefix)})

    def _dates(self, layer: str, table: str) -> list[str]:
        return self.files_at.dates(f"{layer}/{table}")


class Draft(Warehouse):
    """A date's partitions on their way: written, listed, and shown together by one rename."""

    def __init__(self, settings: Settings, date: str) -> None:
        super().__init__(settings)
        self.date = date
        self._written: list[Manifest] = []
        self._before = self.files_at.version(_day_key(date))

    def _seen(self, layer: str, table: str, date: str) -> Version:
        return None

    def _point(self, manifest: Manifest, seen: Version) -> None:
        self._written.append(manifest)

    @property
    def written(self) -> Day:
        return Day(self.date, tuple(self._written))

    def show(self) -> None:
        """Make what was written all there is of the date."""
        content = self.written.content.encode()
        self.files_at.replace(_day_key(self.date), content, self._before)
        for layer in JUDGED:  # of a home of before: nothing reads them from now on
            for table in contract.TABLES:
                self.files_at.remove(_key(layer, table, self.date))


def located(settings: Settings) -> Files:
    """Where the partitions of a home lie: a store where it has one, else `<home>/warehouse`."""
    if url := settings.warehouse_url:
        from pipelines.store import object_store  # not for those who have a folder

        return object_store.opened(url, settings.home)
    return LocalFiles(settings.home / "warehouse")


def _key(layer: str, table: str, date: str, name: str = MANIFEST) -> str:
    return f"{layer}/{table}/date={date}/{name}"


def _day_key(date: str) -> str:
    return f"{DAYS}/date={date}/{MANIFEST}"


def sql(name: str) -> str:
    """Text of `sql/<name>.sql`."""
    return (SQL_DIR / f"{name}.sql").read_text()


def scalar(connection: duckdb.DuckDBPyConnection, query: str, parameters: Any = None) -> Any:
    """First column of the first row."""
    rows = connection.execute(query, parameters).fetchall()  # to its end: the next query may stream
    return rows[0][0] if rows else None


def readable(path: Path) -> str:
    """A file for DuckDB's readers, which take a path as a pattern: `a?b` is `axb`, too.

    What COPY writes to is no pattern.
    """
    return glob.escape(str(path))


def quoted(value: object) -> str:
    """Text for a single-quoted SQL literal where a parameter cannot be bound (COPY targets)."""
    return str(value).replace("'", "''")


def file_sha256(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
