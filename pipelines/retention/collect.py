"""`crossimpact gc`: remove what is old enough by the desk's policy and named by no record.

Each removal is one unlink or one rename into a scratch folder, so whoever is killed leaves the rest
for the next run. Files that were written again meanwhile are young and stay.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from crossimpact.atomic import move, replacing
from crossimpact.progress import tell
from crossimpact.release.bundle import MANIFEST, sha256
from crossimpact.release.policy import RetentionPolicy
from pipelines.pages import reports
from pipelines.retention.records import PREFIX, named
from pipelines.store import scratch
from pipelines.store.files import Files
from pipelines.store.settings import Settings
from pipelines.store.warehouse import DRAFTS, Warehouse

#: What killed writers leave is theirs for a day: somebody may write it still.
DRAFT_DAYS = 1
#: Folders of a home in which files are written beside their place.
WRITTEN = ("warehouse", "audit", "releases", "refits", "reports", "shadow", "consumer", "live")
#: Pages that a date's or month's step makes again from what is kept.
PAGES = "*-[0-9][0-9][0-9][0-9]-[0-9][0-9]*.html"


@dataclass(frozen=True)
class Kind:
    """What goes of one kind: how much, in bytes, and why it may."""

    kind: str
    files: int
    bytes: int
    why: str


@dataclass(frozen=True)
class Collected:
    """What was removed, or on a dry run would be; `files` and `bytes` over all `kinds`."""

    dry_run: bool
    files: int
    bytes: int
    kinds: list[Kind]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Item:
    """A file or folder that may go, unless it was written since (epoch s)."""

    written: Callable[[], float]
    size: Callable[[], tuple[int, int]]
    remove: Callable[[], None]


@dataclass(frozen=True)
class _Found:
    """Items of a kind that may go, unless they were written since `before` (epoch s)."""

    kind: str
    why: str
    candidates: Iterable[_Item]
    before: float = math.inf

    @cached_property
    def items(self) -> list[_Item]:
        return [item for item in self.candidates if self.is_old(item)]

    def is_old(self, item: _Item) -> bool:
        return item.written() < self.before


def run(settings: Settings, now: datetime, *, dry_run: bool) -> Collected:
    """Remove what the policy of the home lets go; only count it on a dry run.

    Parameters
    ----------
    now
        Ages are counted up to it (UTC).

    Raises
    ------
    CrossImpactError
        When a record of the home cannot be read; nothing was removed then.
    """
    policy, told = settings.policy.retention, list[Kind]()
    for found in _found(settings, policy, now, named(settings)):
        sizes = [item.size() for item in found.items]
        files, size = sum(n for n, _ in sizes), sum(b for _, b in sizes)
        told.append(Kind(found.kind, files, size, found.why))
        if not dry_run and found.items:
            tell(f"gc {found.kind}", f"{files} files, {size:,} bytes")
            for item in filter(found.is_old, found.items):  # asked again: it may be back in use
                item.remove()
    if not dry_run and settings.reports.is_dir():
        reports.write_index(settings)
    return Collected(dry_run, sum(k.files for k in told), sum(k.bytes for k in told), told)


def _found(
    settings: Settings, policy: RetentionPolicy, now: datetime, names: frozenset[str]
) -> list[_Found]:
    home = settings.home

    def before(days: int) -> float:
        return (now - timedelta(days=days)).timestamp()

    return [
        _Found(
            "partitions",
            f"superseded for over {policy.partitions_days} days, made again at need",
            _superseded(Warehouse(settings).files_at, names),
            before(policy.partitions_days),
        ),
        _Found(
            "staged",
            f"copies of an object store's files, over {policy.partitions_days} days old",
            _items(_staged(settings), _unlink),
            before(policy.partitions_days),
        ),
        _Found(
            "refits",
            f"over {policy.refits_days} days old, their release never promoted",
            _items(_refits(home, names), partial(_move_away, home)),
            before(policy.refits_days),
        ),
        _Found(
            "reports",
            f"over {policy.reports_days} days old, made again from the marts",
            _items(settings.reports.glob(PAGES), _unlink),
            before(policy.reports_days),
        ),
        _Found(
            "drafts", "left by killed writers", _items(_drafts(home), _unlink), before(DRAFT_DAYS)
        ),
        _Found("scratch", "left by killed processes", _items(scratch.left(home), scratch.clear)),
        _Found(
            "logs",
            f"not written to for over {policy.logs_days} days",
            _items(_logs(home), _unlink_with_folder),
            before(policy.logs_days),
        ),
        _Found(
            "rotated logs",
            f"over {policy.log_mb} MB: begun anew, the one before is kept",
            _items(_large(home, policy.log_mb), _rotate),
        ),
    ]


def _items(paths: Iterable[Path], remove: Callable[[Path], None]) -> Iterator[_Item]:
    for path in sorted(paths):
        yield _Item(partial(_newest, path), partial(_size, path), partial(remove, path))


def _superseded(files: Files, names: frozenset[str]) -> Iterator[_Item]:
    """Partition files that no manifest and no entry of a ledger names."""
    for found in files.data():
        if Path(found.key).stem[:PREFIX] not in names:
            yield _Item(
                partial(files.written, found.key),
                partial(_one, found.size),
                partial(files.remove, found.key),
            )


def _one(size: int) -> tuple[int, int]:
    return 1, size


def _staged(settings: Settings) -> Iterator[Path]:
    if settings.warehouse_url:
        yield from Warehouse(settings).root.glob("*/*/date=*/*.parquet")


def _refits(home: Path, names: frozenset[str]) -> Iterator[Path]:
    """Folders of refits that failed, or whose release no record names."""
    for folder in (home / "refits").glob("*/"):
        manifest = folder / "release" / MANIFEST
        if not manifest.exists() or sha256(manifest.read_bytes())[:PREFIX] not in names:
            yield folder


def _drafts(home: Path) -> Iterator[Path]:
    if scratch.idle(home):
        for folder in WRITTEN:
            yield from (home / folder).rglob(DRAFTS)


def _logs(home: Path) -> Iterator[Path]:
    for folder in ("logs", "airflow/logs"):
        yield from (path for path in (home / folder).rglob("*") if path.is_file())


def _large(home: Path, most_mb: int) -> Iterator[Path]:
    for path in sorted((home / "logs").glob("*.log")):
        if path.stat().st_size > most_mb * 10**6:
            yield path


def _newest(path: Path) -> float:
    """When a file, or anything in a folder, was last written; seconds of the epoch."""
    inside = path.rglob("*") if path.is_dir() else ()
    return max(_written(p) for p in (path, *inside))


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # it went meanwhile
        return 0.0


def _size(path: Path) -> tuple[int, int]:
    """Files and bytes of a file or folder."""
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    sizes = [p.stat().st_size for p in files if p.exists()]
    return len(sizes), sum(sizes)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _unlink_with_folder(path: Path) -> None:
    """A file, and its folders that hold nothing any longer."""
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder.name == "logs" or any(folder.iterdir()):
            return
        folder.rmdir()


def _move_away(home: Path, folder: Path) -> None:
    """A folder goes whole by one rename; what is killed then lies in the scratch folder."""
    with scratch.folder(home) as place:
        move(folder, place / folder.name)


def _rotate(log: Path) -> None:
    """Keep the log so far as `.1` and begin anew, under whoever appends to it."""
    with replacing(log.with_name(f"{log.name}.1")) as copy:
        shutil.copyfile(log, copy)
    os.truncate(log, 0)
