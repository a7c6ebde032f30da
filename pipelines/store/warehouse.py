"""Partitions on disk: Parquet plus a manifest is the truth, DuckDB only computes.

`<home>/<layer>/<table>/date=D/_manifest.json` names the one valid file of a partition. Data are
written under their own sha256, the manifest then moves by atomic rename, so a reader sees the old
partition or the new one, a rerun with the same inputs changes nothing, and a superseded file stays
for the auditor.
"""

from __future__ import annotations

import glob
import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from crossimpact import __version__, atomic, contract
from crossimpact.errors import CrossImpactError
from pipelines.store import scratch
from pipelines.store.settings import SQL_DIR, Settings

#: Rows written together.
ROW_GROUP = 250_000


@dataclass(frozen=True)
class Manifest:
    """What one partition holds and what it was made from (`inputs`: name -> digest)."""

    layer: str
    table: str
    date: str
    file: str
    rows: int
    sha256: str
    inputs: Mapping[str, str]
    extra: Mapping[str, Any] = field(default_factory=dict)
    contract_version: str = contract.VERSION
    code_version: str = __version__


class Warehouse:
    """The partitions below one home.

    Parameters
    ----------
    settings
        Home and memory limit.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.root = settings.home / "warehouse"

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
                raise CrossImpactError(
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
        path = self.folder(layer, table, date) / "_manifest.json"
        try:
            return Manifest(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise CrossImpactError(
                f"manifest {path} cannot be read ({error})", "delete the partition and rerun"
            ) from error

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
        folder = self.folder(layer, table, date)
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{uuid.uuid4().hex}.tmp"
        try:
            rows = _write(connection, query, draft)
            sha256 = file_sha256(draft)
            manifest = Manifest(
                layer, table, date, f"{sha256[:16]}.parquet", rows, sha256, inputs, extra or {}
            )
            atomic.move(draft, folder / manifest.file)
        finally:
            draft.unlink(missing_ok=True)
        atomic.write_atomic(folder / "_manifest.json", json.dumps(asdict(manifest), sort_keys=True))
        return manifest

    def file(self, manifest: Manifest) -> Path:
        """The manifested file, verified against its digest (a flipped bit reads back silently)."""
        path = self.folder(manifest.layer, manifest.table, manifest.date) / manifest.file
        result = file_sha256(path) if path.exists() else "missing"
        if result != manifest.sha256:
            raise CrossImpactError(
                f"{path} does not match its manifest (sha256 {result[:12]}, "
                f"expected {manifest.sha256[:12]})",
                "delete the partition and rerun",
            )
        return path

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
        folders = (self.root / layer / table).glob("date=*/_manifest.json")
        return sorted(path.parent.name.removeprefix("date=") for path in folders)


def _write(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> int:
    """Rows of `query` written to `path`, the same rows as the same bytes.

    In row groups of one size, whatever pieces they come in; not `COPY (query)`, whose pages are cut
    as the plan's inputs were.
    """
    from pyarrow import parquet  # not for those who only read manifests

    rows = 0
    connection.abort()  # of a result that nobody read to its end
    reader = connection.sql(query).to_arrow_reader(ROW_GROUP)
    with parquet.ParquetWriter(path, reader.schema) as writer:
        for group in _regrouped(reader):
            writer.write_table(group, row_group_size=ROW_GROUP)
            rows += group.num_rows
    return rows


def _regrouped(batches: Iterable[Any]) -> Iterator[Any]:
    """Tables of exactly ROW_GROUP rows, in one piece each, but for the last."""
    from pyarrow import Table

    held: list[Any] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.num_rows
        while size >= ROW_GROUP:
            whole = Table.from_batches(held).combine_chunks()
            yield whole.slice(0, ROW_GROUP)
            held = whole.slice(ROW_GROUP).to_batches()
            size -= ROW_GROUP
    if held:
        yield Table.from_batches(held).combine_chunks()


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


def text_sha256(*texts: str) -> str:
    """One digest of several texts, boundaries included."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
