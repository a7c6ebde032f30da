"""Where partitions lie: a folder, or an object store behind the same few operations.

Keys are paths below the warehouse (`<layer>/<table>/date=D/<file>`). Data files are named by their
digest and never change; a pointer (a manifest, a mark) is replaced as a whole, and only the one
that was seen: whoever was overtaken meanwhile loses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from crossimpact import atomic
from pipelines.store.manifest import MANIFEST

#: A pointer as it was seen: its version in the store, None where there was none.
Version = Any


@dataclass(frozen=True)
class DataFile:
    """A partition's file: its key and bytes."""

    key: str
    size: int


class Files(Protocol):
    """The files of one warehouse; `root` is where data files lie or are staged on this machine."""

    @property
    def root(self) -> Path: ...

    def read(self, key: str) -> bytes | None:
        """A pointer's content; None when there is none."""

    def version(self, key: str) -> Version:
        """What `replace` is to replace."""

    def replace(self, key: str, content: bytes, seen: Version) -> None:
        """Write a pointer as a whole where it still is as it was `seen`."""

    def put(self, key: str, draft: Path) -> None:
        """Make a finished file of this machine the one at `key`; the draft goes."""

    def local(self, key: str) -> Path:
        """A data file on this machine; it may not exist."""

    def remove(self, key: str) -> None:
        """Remove a pointer or data file, if it is there."""

    def dates(self, prefix: str) -> list[str]:
        """Dates below `<layer>/<table>` that have a manifest, in no order."""

    def layers(self) -> list[str]:
        """Names of the layers, in no order."""

    def pointers(self) -> Iterator[bytes]:
        """Content of every manifest and mark."""

    def data(self) -> Iterator[DataFile]:
        """Every data file, live or superseded."""

    def written(self, key: str) -> float:
        """When a file was last written, seconds of the epoch."""


@dataclass(frozen=True)
class LocalFiles:
    """A folder. Renames replace whatever is there: on one machine who comes last answers."""

    root: Path

    def read(self, key: str) -> bytes | None:
        try:
            return (self.root / key).read_bytes()
        except FileNotFoundError:
            return None

    def version(self, key: str) -> Version:
        return None

    def replace(self, key: str, content: bytes, seen: Version) -> None:
        atomic.write_atomic(self.root / key, content)

    def put(self, key: str, draft: Path) -> None:
        atomic.move(draft, self.root / key)

    def local(self, key: str) -> Path:
        return self.root / key

    def remove(self, key: str) -> None:
        (self.root / key).unlink(missing_ok=True)

    def dates(self, prefix: str) -> list[str]:
        return list(_dates(self.root / prefix))

    def layers(self) -> list[str]:
        return [path.name for path in self.root.glob("*") if path.is_dir()]

    def pointers(self) -> Iterator[bytes]:
        for path in self.root.rglob("_*.json"):
            yield path.read_bytes()

    def data(self) -> Iterator[DataFile]:
        for path in sorted(self.root.glob("*/*/date=*/*.parquet")):
            yield DataFile(path.relative_to(self.root).as_posix(), path.stat().st_size)

    def written(self, key: str) -> float:
        return (self.root / key).stat().st_mtime


def _dates(folder: Path) -> Iterator[str]:
    for path in folder.glob(f"date=*/{MANIFEST}"):
        yield path.parent.name.removeprefix("date=")
