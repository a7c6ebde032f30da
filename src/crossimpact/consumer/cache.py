"""The last known good releases on disk: folders under their digests, and a pointer to the newest.

The folder belongs to one client. What is read back is verified like what comes from the registry.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from crossimpact.atomic import replace_folder, write_atomic
from crossimpact.errors import StaleModel
from crossimpact.model import canonical_json
from crossimpact.release import admissible, hash_chain, release_files
from crossimpact.release.bundle import ID_LENGTH, Release
from crossimpact.release.content import Hold, read
from crossimpact.release.ledger import Entry, LiveChampion

POINTER = "pointer.json"


@dataclass(frozen=True)
class CachedRelease:
    """A verified release, held to the ledger's rungs, and when the registry last confirmed it."""

    release: Release
    digest: str
    version: int
    confirmed_at: datetime

    @property
    def id(self) -> str:
        return self.digest[:ID_LENGTH]

    def under(self, standing: LiveChampion) -> CachedRelease:
        """Held to the rungs the ledger holds it to; itself when it is already."""
        if self.release.held == standing.held:
            return self
        return replace(self, release=replace(self.release, held=standing.held))


@dataclass(frozen=True)
class Seen:
    """How many lines of the ledger were there, and the sha256 of the last."""

    lines: int = 0
    last: str = ""

    @classmethod
    def of(cls, book: Sequence[Entry]) -> Seen:
        return cls(len(book), hash_chain.sha256(book[-1].line)) if book else cls()


class ReleaseCache:
    """The releases of a client's cache folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load_last(self) -> tuple[CachedRelease, Seen]:
        """The release the pointer names.

        Raises
        ------
        StaleModel
            When there is none, or it does not verify.
        """
        try:
            pointer = json.loads((self.folder / POINTER).read_bytes())
            digest, version = str(pointer["digest"]), int(pointer["version"])
            held = {regime: read(Hold, hold, regime) for regime, hold in pointer["held"].items()}
            release = replace(self.load(digest), held=held)
            confirmed_at = datetime.fromisoformat(pointer["confirmed_at"]).astimezone(UTC)
            return CachedRelease(release, digest, version, confirmed_at), Seen(**pointer["seen"])
        except FileNotFoundError as error:
            raise StaleModel(f"{self.folder} holds no release yet") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StaleModel(f"{self.folder / POINTER} cannot be read: {error!r}") from error

    def load(self, digest: str) -> Release:
        """The release of that digest; `StaleModel` or `ModelError` when it does not verify."""
        release = release_files.read(self.folder / digest, digest)
        admissible.check(release)
        return release

    def save(self, good: CachedRelease, seen: Seen, contents: Mapping[str, bytes] | None) -> None:
        """Make `good` what the next process starts with, its files too if they are new."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if contents is not None:
            replace_folder(self.folder / good.digest, contents)
            self._drop_all_but(good.digest)
        write_atomic(  # two pulls of one user share the folder
            self.folder / POINTER,
            canonical_json({
                "digest": good.digest,
                "version": good.version,
                "held": {name: hold.to_dict() for name, hold in good.release.held.items()},
                "confirmed_at": good.confirmed_at.isoformat(),
                "seen": vars(seen),
            }),
        )  # fmt: skip

    def clear(self) -> None:
        """Start the next process without a release."""
        with suppress(OSError):
            (self.folder / POINTER).unlink(missing_ok=True)

    def _drop_all_but(self, digest: str) -> None:
        """Keep the new release and the one before it, which a rollback would bring back."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            keep = {digest, json.loads((self.folder / POINTER).read_bytes())["digest"]}
            for path in self.folder.iterdir():
                if path.is_dir() and path.name not in keep:
                    shutil.rmtree(path, ignore_errors=True)
