"""Versions of the registered model, by alias, release id or digest."""

from __future__ import annotations

import re
from collections.abc import Sequence

from crossimpact.consumer.address import MODEL
from crossimpact.consumer.source import Source
from crossimpact.consumer.version import Version
from crossimpact.errors import StaleModel, UsageError
from crossimpact.release import ledger
from crossimpact.release.ledger import Entry

ALIAS = re.compile(r"[a-z][a-z-]{0,62}")
RELEASE_ID = re.compile(r"[0-9a-f]{12,64}")


def find(registry: Source, which: str, book: Sequence[Entry]) -> Version:
    """The version of an alias or a release id; see `tracking.find`."""
    if RELEASE_ID.fullmatch(which):
        result = _by_id(registry, which, book)
    elif ALIAS.fullmatch(which):
        number = registry.alias(which)
        result = registry.version(number) if number is not None else None
    else:
        raise UsageError(f"{which!r} is neither an alias nor a release id of 12 or more hex digits")
    if result is None:
        raise StaleModel(f"no release {which} in {MODEL}", "run `crossimpact refit` first")
    return result


def _by_id(registry: Source, which: str, book: Sequence[Entry]) -> Version | None:
    for entry in reversed(book):
        if entry.action in ledger.CHANGES and str(entry.new).startswith(which):
            if there := registry.version(entry.version or 0):
                return there
            break  # of another store than the ledger tells of; the digest decides
    result = registry.by_digest(which)
    if len({version.digest for version in result}) > 1:
        raise UsageError(f"{which} fits {len(result)} releases", "give more digits")
    return result[0] if result else None
