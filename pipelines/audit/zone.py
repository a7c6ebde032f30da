"""A home belongs to one landing zone, recorded when its first date is judged.

The record holds the zone's place twice, absolute and as seen from the home, so that both may be
moved together. A zone that holds the home's last date, byte for byte, is the same one elsewhere.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from crossimpact.atomic import create, write_atomic
from crossimpact.errors import UsageError
from crossimpact.progress import tell
from pipelines.store.landing import Landing
from pipelines.store.manifest import read
from pipelines.store.warehouse import Warehouse

FILE = "landing.json"


def check(warehouse: Warehouse, landing: Landing) -> None:
    """Take the landing as the home's when it has none, else see that it is the same.

    Raises
    ------
    UsageError
        When the dates of another zone would be superseded.
    """
    path, here = warehouse.settings.home / FILE, _place(warehouse, landing)
    known = _known(path)
    if known is None:
        try:
            create(path, json.dumps(here).encode())
        except FileExistsError:  # another process was first: it must agree
            check(warehouse, landing)
    elif not {known["root"], known["relative"]} & {here["root"], here["relative"]}:
        if not _is_the_same(warehouse, landing):
            raise UsageError(
                f"home {warehouse.settings.home} holds the dates of landing zone {known['root']}, "
                f"not of {landing.root}",
                "give another --home, or `crossimpact validate --replace` to go over to this zone",
            )
        tell("validate", f"landing zone {known['root']} is now at {landing.root}")
        replace(warehouse, landing)


def replace(warehouse: Warehouse, landing: Landing) -> None:
    """Make this the home's landing zone, whatever it was."""
    path = warehouse.settings.home / FILE
    write_atomic(path, json.dumps(_place(warehouse, landing)))


def recorded(home: Path) -> Path | None:
    """Where the home's landing zone is: as recorded, or moved with the home."""
    known = _known(home / FILE)
    if known is None:
        return None
    moved = Path(os.path.normpath(home / known["relative"]))
    return next((p for p in (Path(known["root"]), moved) if p.is_dir()), Path(known["root"]))


def _place(warehouse: Warehouse, landing: Landing) -> dict[str, str]:
    root, home = os.path.realpath(landing.root), os.path.realpath(warehouse.settings.home)
    return {"root": root, "relative": os.path.relpath(root, home)}


def _known(path: Path) -> dict[str, str] | None:
    return read(path, lambda plain: {name: str(plain[name]) for name in ("root", "relative")})


def _is_the_same(warehouse: Warehouse, landing: Landing) -> bool:
    """Whether the last live date is landed here with the same bytes; so is a home without any."""
    dates = warehouse.judged_dates()
    day = warehouse.day(dates[-1]) if dates else None
    return day is None or all(
        landing.digest(manifest.table, day.date) == manifest.inputs.get(f"landing/{manifest.table}")
        for manifest in day.partitions
    )
