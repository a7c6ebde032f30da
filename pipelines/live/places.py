"""Where a home's live loop has its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Files of a home's live loop."""

    home: Path

    @property
    def level(self) -> Path:
        return self.home / "live" / "level"

    @property
    def heartbeat(self) -> Path:
        return self.home / "live" / "heartbeat"

    @property
    def limits(self) -> Path:
        return self.home / "limits.toml"

    @property
    def allowances(self) -> Path:
        return self.home / "allowances.toml"

    def journal(self, session: str) -> Path:
        return self.home / "live" / "journal" / f"{session}.jsonl"
