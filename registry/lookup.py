"""Versions of the registered model, by alias, release id or digest."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossimpact.errors import StaleModel, UsageError
from registry import bundle, ledger
from registry.pages import MODEL

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

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

    @property
    def id(self) -> str:
        return self.digest[: bundle.ID_LENGTH]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"id": self.id, "aliases": list(self.aliases)}


def find(client: MlflowClient, which: str, book: Path | None) -> Version:
    if RELEASE_ID.fullmatch(which):
        found = _by_id(client, which, book)
    elif ALIAS.fullmatch(which):
        found = by_alias(client, which)
    else:
        raise UsageError(f"{which!r} is neither an alias nor a release id of 12 or more hex digits")
    if found is None:
        raise StaleModel(f"no release {which} in {MODEL}", "run `crossimpact refit` first")
    return found


def _by_id(client: MlflowClient, which: str, book: Path | None) -> Version | None:
    for entry in reversed(ledger.entries(book) if book else []):
        if entry.action in ledger.CHANGES and str(entry.new).startswith(which):
            if there := _if_there(client.get_model_version, str(entry.version)):
                return there
            break  # of another store than the ledger tells of; the digest decides
    found = by_digest(client, which)
    if len({version.digest for version in found}) > 1:
        raise UsageError(f"{which} fits {len(found)} releases", "give more digits")
    return found[0] if found else None


def by_digest(client: MlflowClient, prefix: str) -> list[Version]:
    return search(client, f"name = '{MODEL}' AND tags.digest LIKE '{prefix}%'")


def by_alias(client: MlflowClient, alias: str) -> Version | None:
    return _if_there(client.get_model_version_by_alias, alias)


def _if_there(get: Callable[[str, str], ModelVersion], key: str) -> Version | None:
    from mlflow.exceptions import MlflowException

    try:
        return version(get(MODEL, key))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def search(client: MlflowClient, query: str) -> list[Version]:
    """Matching versions, newest first."""
    found: list[ModelVersion] = []
    page = client.search_model_versions(query)
    while page.token:
        found += page
        page = client.search_model_versions(query, page_token=page.token)
    return sorted(map(version, [*found, *page]), key=lambda version: -version.version)


def version(found: ModelVersion) -> Version:
    tags = dict(found.tags)
    return Version(
        version=int(found.version),
        digest=tags.get("digest", ""),
        run_id=found.run_id or "",
        as_of=tags.get("as_of", ""),
        aliases=tuple(found.aliases or ()),
        tags=tags,
    )
