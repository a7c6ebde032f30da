"""Versions of the registered model, by alias, release id or digest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from crossimpact.consumer.address import MODEL
from crossimpact.errors import StaleModel, UsageError
from crossimpact.release import bundle, ledger
from crossimpact.release.ledger import Entry

if TYPE_CHECKING:
    from crossimpact.consumer.source import Source

ALIAS = re.compile(r"[a-z][a-z-]{0,62}")
RELEASE_ID = re.compile(r"[0-9a-f]{12,64}")


@dataclass(frozen=True)
class Version:
    """A registered release, as MLflow tells it (its tags may lie; `resolve` verifies)."""

    version: int
    digest: str
    run_id: str
    as_of: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]

    @classmethod
    def of(
        cls, number: int | str, run_id: str, aliases: Iterable[str], tags: Mapping[str, str]
    ) -> Version:
        """From what MLflow has of it; its digest and date are among the tags."""
        told = (tags.get("digest", ""), run_id or "", tags.get("as_of", ""))
        return cls(int(number), *told, tuple(aliases), dict(tags))

    @property
    def id(self) -> str:
        return self.digest[: bundle.ID_LENGTH]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"id": self.id, "aliases": list(self.aliases)}


def find(registry: Source, which: str, book: Sequence[Entry]) -> Version:
    """The version of an alias or a release id; see `tracking.find`."""
    if RELEASE_ID.fullmatch(which):
        found = _by_id(registry, which, book)
    elif ALIAS.fullmatch(which):
        number = registry.alias(which)
        found = registry.version(number) if number is not None else None
    else:
        raise UsageError(f"{which!r} is neither an alias nor a release id of 12 or more hex digits")
    if found is None:
        raise StaleModel(f"no release {which} in {MODEL}", "run `crossimpact refit` first")
    return found


def _by_id(registry: Source, which: str, book: Sequence[Entry]) -> Version | None:
    for entry in reversed(book):
        if entry.action in ledger.CHANGES and str(entry.new).startswith(which):
            if there := registry.version(entry.version or 0):
                return there
            break  # of another store than the ledger tells of; the digest decides
    found = registry.by_digest(which)
    if len({version.digest for version in found}) > 1:
        raise UsageError(f"{which} fits {len(found)} releases", "give more digits")
    return found[0] if found else None
