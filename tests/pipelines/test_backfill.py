"""Dates may come in any order: what is live of them, and made of them, does not depend on it."""

from __future__ import annotations

import os
from pathlib import Path

from pipelines import features, moments
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from pipelines.validate import run
from tests.pipelines import desk

DATES = [f"2024-01-0{day}" for day in (3, 4, 5)]
#: A fill of another date's id, one far from the mid: rules that look over dates and at rows.
TWICE, FAR = "f3", 120.0


def landed(root: Path) -> Landing:
    for date in DATES:
        tables = desk.clean(date)
        if date == DATES[1]:
            tables["child_fills"][3]["fill_id"] = TWICE
            tables["child_fills"][7]["fill_px"] = FAR
        desk.write(root, tables, date)
    return Landing(root)


def live(home: Path, order: list[str], landing: Landing) -> dict[str, str]:
    """Every pointer of a home that was told of the dates one by one in this order."""
    settings = Settings(home)
    for date in order:
        run(settings, landing, [date])
        features.prepare(settings, landing, [date])
        moments.prepare(settings, [date], ("linear",))
    root = Warehouse(settings).root
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("_*.json")}


def test_a_backfill_in_any_order_and_in_parallel_is_the_one_in_order(tmp_path: Path) -> None:
    landing = landed(tmp_path / "landing")
    in_order = live(tmp_path / "in-order", DATES, landing)
    assert live(tmp_path / "backwards", DATES[::-1], landing) == in_order
    child = os.fork()
    if child == 0:  # at the same time, in the same home
        live(tmp_path / "parallel", [DATES[1], DATES[0], DATES[2]], landing)
        os._exit(0)
    live(tmp_path / "parallel", [DATES[2], DATES[1], DATES[0]], landing)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    root = Warehouse(Settings(tmp_path / "parallel")).root
    found = {p.relative_to(root).as_posix(): p.read_text() for p in root.rglob("_*.json")}
    assert found == in_order and len(in_order) > len(DATES)
    assert "fill_near_mid" in in_order[f"days/date={DATES[1]}/_manifest.json"]
    assert "unique_key" in in_order[f"days/date={DATES[1]}/_manifest.json"]
