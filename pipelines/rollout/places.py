"""Where a home's rollout has its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Files of a home's rollout."""

    home: Path

    @property
    def ledger(self) -> Path:
        return self.home / "rollout" / "ledger.jsonl"

    def salt(self, date: str) -> Path:
        """A salt that is committed to and not revealed yet, for nobody's eyes but the loop's."""
        return self.home / "rollout" / "salts" / date

    def evidence(self, digest: str) -> Path:
        """What a move was decided on, by its sha256."""
        return self.home / "rollout" / "evidence" / f"{digest}.json"

    def shadow(self, release_id: str) -> Path:
        """What the gates of a promotion read of a release's shadow."""
        return self.home / "shadow" / f"{release_id}.json"
