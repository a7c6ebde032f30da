"""A release in a folder: written whole or not at all, read back only byte for byte as written.

Reading trusts nothing: names outside `NAME`, links, too many or too large files, a file the
manifest does not list, another sha256, and content in another spelling than `write`'s are refused.
Nothing is unpickled and nothing is imported on the way.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from crossimpact.atomic import replace_folder
from crossimpact.errors import StaleModel, UsageError
from crossimpact.model import canonical_json
from crossimpact.release import bundle
from crossimpact.release.bundle import (
    MANIFEST,
    SCHEMA_VERSIONS,
    Release,
)

#: What a release may hold; `MLmodel`, pickles, code and paths are not among it.
NAME = re.compile(
    r"(manifest|release|fallback|guardrails)\.json"
    r"|(model-[a-z0-9_]{1,32}-[a-z_]{1,16}\.json)|(gamma-[a-z0-9_]{1,32}-[a-z_]{1,16}\.npy)"
)
MAX_FILES = 64
MOST_LISTED = 1000  # entries of a folder, before it is refused for what they are
MAX_BYTES = 64 << 20  # of all files together; 500 names with a fifth of their pairs take 5 MB


def write(release: Release, folder: Path) -> str:
    """Write `release` as the content of `folder` and return its digest.

    The folder appears complete or not at all; an older release in it is replaced.

    Raises
    ------
    UsageError
        When the folder holds something that is not a release.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).exists():
        raise UsageError(f"{folder} holds something that is no release", "name an empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    replace_folder(folder, release.files | {MANIFEST: release.manifest})
    return release.digest


def read(folder: Path, digest: str | None = None) -> Release:
    """Read and verify a release.

    Parameters
    ----------
    folder
        Where its files are.
    digest
        The digest it must have; None checks only that the files agree with each other.

    Raises
    ------
    StaleModel
        On a file too many or too few, a link, another schema version, a digest that does not
        match, or content that is no release.
    """
    return verified(contents(folder), digest, str(folder))


def verified(contents: Mapping[str, bytes], digest: str | None, where: str) -> Release:
    """The release of which `contents` are the files; `where` they are from, for the errors."""
    files = dict(contents)
    if MANIFEST not in files:
        raise refused(where, f"has no {MANIFEST}")
    manifest = files.pop(MANIFEST)
    result = bundle.sha256(manifest)
    if digest is not None and result != digest:
        raise refused(where, f"has digest {result}, expected {digest}")
    _check_files(where, files, _listed(where, manifest))
    try:
        release = bundle.parse(files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise refused(where, f"does not parse: {error}") from error
    if (told := json.loads(manifest)["schema_version"]) != release.schema_version:
        raise refused(where, f"is of schema version {release.schema_version}, and says {told}")
    vars(release).update(files=files, manifest=manifest)  # checked, so need not be made again
    return release


def contents(folder: Path, where: str = "") -> dict[str, bytes]:
    """The files of a release's folder, opened without following a link, none longer than allowed.

    Parameters
    ----------
    folder
        Where they are; only so many entries are looked at as it takes to refuse it.
    where
        What the errors call it, the folder by default.

    Raises
    ------
    StaleModel
        When it is no folder, or holds what a release does not.
    """
    where = where or str(folder)
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise refused(where, f"is missing: {error.strerror}") from error
    try:
        with os.scandir(handle) as entries:
            sizes = {entry.name: _size(entry) for entry in islice(entries, MOST_LISTED)}
        expect(sizes, where)
        return {name: _bytes(handle, name, sizes[name] or 0, where) for name in sorted(sizes)}
    finally:
        os.close(handle)


def expect(sizes: Mapping[str, int | None], where: str) -> None:
    """Check a listing, name by name, before anything is read; a size of None is no plain file.

    Raises
    ------
    StaleModel
        Naming what a release does not hold.
    """
    odd = sorted(name for name, size in sizes.items() if size is None)
    if odd:
        raise refused(where, f"holds {_some(odd)}, not a plain file")
    unknown = sorted(name for name in sizes if not NAME.fullmatch(name))
    if unknown:
        raise refused(where, f"holds unexpected {_some(unknown)}")
    total = sum(size or 0 for size in sizes.values())
    if len(sizes) > MAX_FILES or total > MAX_BYTES:
        raise refused(
            where,
            f"holds {len(sizes)} files of {total} bytes, at most {MAX_FILES} of {MAX_BYTES}",
        )


def refused(where: str, what: str) -> StaleModel:
    return StaleModel(f"release {where} {what}", "refit, or roll back to a release that verifies")


def _size(entry: os.DirEntry[str]) -> int | None:
    result = entry.stat(follow_symlinks=False)
    return result.st_size if stat.S_ISREG(result.st_mode) else None


def _bytes(handle: int, name: str, size: int, where: str) -> bytes:
    """The file's bytes, if it still is the plain file that was listed."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=handle)
        with open(file, "rb") as stream:  # noqa: PTH123 - of a handle
            content = stream.read(size + 1)
    except OSError as error:
        raise refused(f"{where}/{name}", f"cannot be read: {error.strerror}") from error
    if len(content) != size:
        raise refused(f"{where}/{name}", "changed while it was read")
    return content


def _some(names: list[str]) -> str:
    """The first of them, as text that cannot break a line of the log."""
    shown = ", ".join(name if name.isprintable() else ascii(name) for name in names[:3])
    return shown if len(names) < 4 else f"{shown} and {len(names) - 3} more"


def _listed(where: str, manifest: bytes) -> dict[str, str]:
    try:
        data = json.loads(manifest)
        version, listed = data["schema_version"], dict(data["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise refused(where, f"has an unreadable {MANIFEST} ({error!r})") from error
    if version not in SCHEMA_VERSIONS:
        known = f"{SCHEMA_VERSIONS[0]} to {SCHEMA_VERSIONS[-1]}"
        raise refused(where, f"has schema version {version}, expected {known}")
    if canonical_json({"schema_version": version, "files": listed}) != manifest:
        raise refused(where, f"has a {MANIFEST} that is not in canonical form")
    return listed


def _check_files(where: str, contents: Mapping[str, bytes], listed: Mapping[str, str]) -> None:
    for name in sorted(set(contents) ^ set(listed)):
        raise refused(where, f"{'lacks' if name in listed else 'holds unexpected'} {name}")
    for name, content in contents.items():
        result = bundle.sha256(content)
        if result != listed[name]:
            raise refused(f"{where}/{name}", f"has sha256 {result}, expected {listed[name]}")
