"""The two halves of a champion's window, fitted once and kept under the home.

Each lies as a release's plain files under `shadow/halves/<key>`, the key from all it was made from:
the champion, the dates, their features, the code. A half is no release: nothing promotes it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from crossimpact.atomic import replace_folder
from crossimpact.errors import StaleModel, UsageError
from crossimpact.progress import tell
from crossimpact.release import release_files
from crossimpact.release.bundle import MANIFEST, Release
from crossimpact.shadow.halves import Half, fitted, split
from pipelines import features, moments, validate
from pipelines.store.landing import Landing
from pipelines.store.provenance import code_digest
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, text_sha256


def halves(settings: Settings, landing: Landing, release: Release, date: str) -> tuple[Half, Half]:
    """Two fits of disjoint dates of the release's window, none of them `date` or after it.

    Raises
    ------
    UsageError
        When the release is of a later date, or its window is not in the landing zone.
    EstimationError
        When the dates do not make two halves, or one of them cannot be fitted.
    """
    dates = window_before(landing, release, date)
    parts = split(dates)
    validate.run(settings, landing, dates)
    features.prepare(settings, landing, dates)
    found = [_half(settings, release, part) for part in parts]
    return found[0], found[1]


def window_before(landing: Landing, release: Release, date: str) -> tuple[str, ...]:
    """The dates of a release's window before a date.

    Raises
    ------
    UsageError
        When the release is newer than the date, which it would know of, or the landing zone lacks
        its window.
    """
    window = release.window
    if release.as_of > date or window.last > date:
        raise UsageError(
            f"release {release.id} is of {release.as_of}: it has seen what came after {date}",
            "shadow a date from the release's own on",
        )
    landed = [day for day in landing.all_dates() if window.first <= day <= window.last]
    if len(landed) < window.dates:
        raise UsageError(
            f"{len(landed)} of the {window.dates} dates of release {release.id} are in "
            f"{landing.root}",
            "give the landing zone it was fitted on",
        )
    return tuple(day for day in landed if day < date)


def _half(settings: Settings, release: Release, dates: Sequence[str]) -> Half:
    folder = settings.home / "shadow" / "halves" / _key(settings, release, dates)
    with suppress(StaleModel):
        kept = release_files.read(folder)
        return Half(tuple(kept.report["dates"]), kept)
    tell("shadow", f"fit of {len(dates)} dates, {dates[0]} to {dates[-1]}")
    panel = features.load_panel(settings, dates)
    made = fitted(
        panel, release, moments=partial(moments.made, settings, dates),
        policy=settings.policy.refit,
    )  # fmt: skip
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_folder(folder, made.release.files | {MANIFEST: made.release.manifest})
    return made


def _key(settings: Settings, release: Release, dates: Sequence[str]) -> str:
    warehouse, layer = Warehouse(settings), settings.feature_layer
    tables = [warehouse.manifest(layer, t, d) for t in ("buckets", "regimes") for d in dates]
    held = json.dumps({k: v.to_dict() for k, v in release.held.items()}, sort_keys=True)
    return text_sha256(
        release.digest, held, code_digest(__name__), *dates,
        *(each.sha256 for each in tables if each),
    )[:24]  # fmt: skip
