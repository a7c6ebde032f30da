"""Releases that sessions have used, kept so that their journals replay by themselves."""

from __future__ import annotations

from crossimpact.errors import StaleModel
from crossimpact.release import release_files
from crossimpact.release.bundle import Release
from pipelines.store.settings import Settings


class ReleaseStore:
    """By digest: those of the home's sessions, then those of its refits."""

    def __init__(self, settings: Settings) -> None:
        self._folders = (settings.home / "live" / "releases", settings.releases)
        self._known: dict[str, Release] = {}

    def keep(self, release: Release) -> None:
        self._known[release.digest] = release
        folder = self._folders[0] / release.digest
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            release_files.write(release, folder)

    def __call__(self, digest: str) -> Release:
        if digest not in self._known:
            folder = next((f / digest for f in self._folders if (f / digest).exists()), None)
            if folder is None:
                raise StaleModel(
                    f"release {digest[:12]} of the journal is not in {self._folders[0]}",
                    "copy it there from the home that ran the session",
                )
            self._known[digest] = release_files.read(folder, digest)
        return self._known[digest]
