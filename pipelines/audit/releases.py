"""The releases a home knows, and the data each says it was fitted on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crossimpact.errors import UsageError
from crossimpact.release import ledger
from crossimpact.release.bundle import ID_LENGTH, MANIFEST
from pipelines.store.settings import Settings

CHAMPION = "champion"


@dataclass(frozen=True)
class Made:
    """A release's window and flow, and per date the digest of what it was fitted on."""

    digest: str
    as_of: str
    first: str
    last: str
    flow: str
    bucket_s: int
    data: Mapping[str, str]

    @property
    def id(self) -> str:
        return self.digest[:ID_LENGTH]


def made(settings: Settings, wanted: str | None = None) -> list[Made]:
    """Releases that were promoted or made here, by date; only the `wanted` one when that is given.

    Raises
    ------
    UsageError
        When the wanted one is not among them.
    """
    folders = (*settings.releases.glob("*"), *settings.home.glob("refits/*/release"))
    found = {m.digest: m for folder in sorted(folders) if (m := _read(folder)) is not None}
    if wanted == CHAMPION:
        live = ledger.standing(ledger.entries(settings.ledger_path))
        wanted = live.digest if live else CHAMPION
    result = [m for m in found.values() if wanted is None or m.digest.startswith(wanted)]
    if wanted and not result:
        raise UsageError(
            f"release {wanted} was not made in {settings.home}",
            f"known are {', '.join(m.id for m in found.values()) or 'none'}",
        )
    return sorted(result, key=lambda m: (m.as_of, m.digest))


def _read(folder: Path) -> Made | None:
    try:
        manifest = (folder / MANIFEST).read_bytes()
        head = json.loads((folder / "release.json").read_bytes())
    except OSError:
        return None
    window = head["window"]
    return Made(
        digest=hashlib.sha256(manifest).hexdigest(),
        as_of=head["as_of"],
        first=window["first"],
        last=window["last"],
        flow=head["flow"],
        bucket_s=head["bucket_s"],
        data=dict(head["report"].get("data", {})),
    )
