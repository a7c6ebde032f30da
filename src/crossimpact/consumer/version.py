"""A registered version of the model, as MLflow tells it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from crossimpact.release import bundle


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
