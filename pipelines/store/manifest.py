"""Manifests: what a partition holds and was made from, and all that is live of a judged date."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from crossimpact import __version__, contract
from crossimpact.errors import CrossImpactError

T = TypeVar("T")

#: Layers of a date that change together.
JUDGED = ("accepted", "quarantine", "violations")
DAYS = "days"
MANIFEST = "_manifest.json"
#: Of manifests and marks this code reads; the first one is written, and does not say so.
SCHEMA_VERSIONS = (1,)
CONTRACT_VERSIONS = tuple(str(n) for n in range(1, int(contract.VERSION) + 1))


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


@dataclass(frozen=True)
class Day:
    """What is live of a judged date: a manifest for every layer and table."""

    date: str
    partitions: tuple[Manifest, ...]

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables it has, in the contract's order."""
        names = {manifest.table for manifest in self.partitions}
        return tuple(name for name in contract.TABLES if name in names)

    def find(self, layer: str, table: str) -> Manifest | None:
        wanted = (m for m in self.partitions if (m.layer, m.table) == (layer, table))
        return next(wanted, None)

    @property
    def content(self) -> str:
        """As it is written; the same partitions, the same text."""
        ordered = sorted(self.partitions, key=lambda m: (m.layer, m.table))
        plain = {"date": self.date, "partitions": [asdict(m) for m in ordered]}
        return json.dumps(plain, sort_keys=True)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content.encode()).hexdigest()

    @property
    def origin(self) -> str:
        """Digest of what came in and what was accepted of it; by it a release knows its data."""
        landed = {
            f"{name} {digest}"
            for m in self.partitions
            for name, digest in m.inputs.items()
            if name.startswith("landing/")
        }
        accepted = {f"{m.table} {m.sha256}" for m in self.partitions if m.layer == "accepted"}
        return text_sha256(*sorted(landed), *sorted(accepted))


def parsed(content: bytes | None, place: object, parse: Callable[[dict[str, Any]], T]) -> T | None:
    """What a pointer at `place` says; None where there is none.

    Raises
    ------
    CrossImpactError
        When it is no manifest, or one of a schema this code does not know.
    """
    try:
        return None if content is None else parse(_known(json.loads(content), place))
    except (ValueError, TypeError, KeyError) as error:
        raise CrossImpactError(
            f"manifest {place} cannot be read ({error})", "delete the partition and rerun"
        ) from error


def _known(plain: dict[str, Any], place: object) -> dict[str, Any]:
    """A pointer's content without its schema version, which none but the first one says."""
    told = plain.pop("schema_version", SCHEMA_VERSIONS[0])
    if told not in SCHEMA_VERSIONS:
        raise _later(place, f"schema version {told}", SCHEMA_VERSIONS)
    for manifest in (plain, *plain.get("partitions", ())):
        version = str(manifest.get("contract_version", contract.VERSION))
        if version not in CONTRACT_VERSIONS:
            raise _later(place, f"contract version {version}", CONTRACT_VERSIONS)
    return plain


def _later(place: object, what: str, known: Iterable[object]) -> CrossImpactError:
    return CrossImpactError(
        f"manifest {place} is of {what}, this code knows {', '.join(map(str, known))}",
        "read it with the version that wrote it, or a later one; nothing was changed",
    )


def read(path: Path, parse: Callable[[dict[str, Any]], T]) -> T | None:
    """`parsed` of a file of this machine."""
    return parsed(path.read_bytes() if path.exists() else None, path, parse)


def text_sha256(*texts: str) -> str:
    """One digest of several texts, boundaries included."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()
