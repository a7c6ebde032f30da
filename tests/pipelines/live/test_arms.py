"""The live loop in a rollout: controls are asked for nothing, baskets stay whole, replays hold."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from crossimpact.policy.live import events
from crossimpact.policy.live.events import ParentOrder
from crossimpact.rollout import ledger
from crossimpact.rollout.design import DayDraw, Design, commitment
from pipelines.live import journal as journals
from pipelines.live.engine import Engine, Opening, replay
from pipelines.live.rows import Raw
from pipelines.rollout.assigner import assigner
from pipelines.rollout.places import Places
from pipelines.store.settings import Settings
from tests.crossimpact.policy.live.desk import at, fill, opening, parent, quotes, swap
from tests.pipelines.live.test_engine import RELEASES, SETTINGS, asked

DAY, SALT = at(0.0).date().isoformat(), bytes(range(32))
EARLY = datetime.fromisoformat(f"{DAY}T06:00:00+00:00")


def rollout(folder: Path, stage: str, *, salt: bool = True) -> Settings:
    """A home whose rollout is at a stage, with today's draw committed."""
    settings = Settings(folder / "home")
    places = Places(settings.home)
    draw = DayDraw(DAY, Design(0.25, strata=1), commitment(DAY, SALT), (), (0.5,))
    with ledger.locked(places.ledger) as held:
        told = {"when": EARLY, "who": "ann", "stage": stage, "release": "d" * 64}
        held.append(ledger.entry("start", **told))
        if salt:
            held.append(ledger.entry("commit", **told, date=DAY, draw=draw))
            places.salt(DAY).parent.mkdir()
            places.salt(DAY).write_bytes(SALT)
    return settings


def names(arm: str, count: int = 2) -> list[str]:
    """Baskets of an arm by today's salt."""
    draw = DayDraw(DAY, Design(0.25, strata=1), commitment(DAY, SALT), (), (0.5,))
    found = (f"B{k}" for k in range(1000))
    return [name for name in found if draw.arm(SALT, name, 1e6, at(1.0)) == arm][:count]


def lines(*orders: events.Event) -> list[bytes]:
    rows = [*opening()[:-2], *orders, *quotes(301.0), *quotes(602.0)]
    return [msgspec.json.encode(events.plain(row)) for row in rows]


def engine(path: Path, settings: Settings | None) -> Engine:
    made = Engine(path, Opening(SETTINGS), RELEASES, assigner(settings) if settings else None)
    made.take([swap()])
    return made


def played(path: Path, settings: Settings | None, told: list[bytes]) -> bytes:
    made = engine(path, settings)
    made.take([Raw(line, "feed", number) for number, line in enumerate(told)])
    made.journal.close()
    return path.read_bytes()


def parents(content: bytes) -> dict[str, tuple[str, float]]:
    rows = [json.loads(line) for line in content.splitlines() if b'"type":"parent"' in line]
    return {r["event"]["id"]: (r["event"]["arm"], r["event"]["propensity"]) for r in rows}


def test_a_slice_asks_for_the_policys_baskets_alone_and_journals_the_chance(tmp_path: Path) -> None:
    ours, theirs = names("policy", 1)[0], names("control", 1)[0]
    told = lines(
        parent("p1", "A", 9000.0, basket=ours, basket_usd=1e6),
        parent("p2", "B", 6000.0, basket=theirs, basket_usd=1e6),
        fill("f1", "p2", "B", 300.0, 100.0),
    )
    content = played(tmp_path / "day.jsonl", rollout(tmp_path, "slice"), told)
    assert parents(content) == {"p1": ("policy", 0.5), "p2": ("control", 0.5)}
    assert asked(content).keys() == {"p1"} and asked(content)["p1"] > 0
    assert b"unknown order" not in content  # the control's fills are reconciled all the same


def test_a_basket_is_not_split_whatever_its_size_is_told_as(tmp_path: Path) -> None:
    made = engine(tmp_path / "day.jsonl", rollout(tmp_path, "slice"))
    basket = names("policy", 1)[0]
    rows: list[ParentOrder] = [
        parent("p1", "A", 9000.0, basket=basket, basket_usd=1e6),
        parent("p2", "B", 6000.0, 400.0, basket=basket),
        parent("p1", "A", 8000.0, 401.0, basket=basket, basket_usd=5e8, arm="control"),
    ]
    for number, row in enumerate([*opening()[:-2], rows[0], *quotes(300.0), *rows[1:]]):
        made.take([Raw(msgspec.json.encode(events.plain(row)), "feed", number)])
    content = (tmp_path / "day.jsonl").read_bytes()
    assert parents(content) == {"p1": ("policy", 0.5), "p2": ("policy", 0.5)}


@pytest.mark.parametrize(
    ("stage", "arm", "chance"),
    [("shadow", "control", 1.0), ("aa", "control", 0.5), ("full", "policy", 1.0)],
)
def test_other_stages_give_every_basket_to_one_arm(tmp_path: Path, stage, arm, chance) -> None:
    told = lines(
        *(parent(f"p{k}", "A", 9000.0, basket=name, basket_usd=1e6)
          for k, name in enumerate([*names("policy", 1), *names("control", 1)]))
    )  # fmt: skip
    content = played(tmp_path / "day.jsonl", rollout(tmp_path, stage), told)
    assert set(parents(content).values()) == {(arm, chance)}
    assert bool(asked(content)) == (arm == "policy")


@pytest.mark.parametrize("salt", [True, False])
def test_without_a_salt_or_a_size_the_control_trades_it(tmp_path: Path, salt: bool) -> None:
    told = lines(parent("p1", "A", 9000.0, basket=names("policy", 1)[0],
                        **({} if salt else {"basket_usd": 1e6})))  # fmt: skip
    content = played(tmp_path / "day.jsonl", rollout(tmp_path, "slice", salt=salt), told)
    assert parents(content) == {"p1": ("control", 1.0)}


def test_a_journal_of_a_slice_replays_without_the_salt_and_a_rollout_that_is_off_changes_nothing(
    tmp_path: Path,
) -> None:
    told = lines(parent("p1", "A", 9000.0, basket=names("policy", 1)[0], basket_usd=1e6))
    content = played(tmp_path / "day.jsonl", rollout(tmp_path, "slice"), told)
    again = replay(journals.read(content)[0], RELEASES)
    assert again.differs is None and again.decisions > 0
    assert assigner(Settings(tmp_path / "other")) is None
    plain = played(tmp_path / "plain.jsonl", None, told)
    assert asked(plain) == asked(content)


def test_a_demotion_counts_for_the_next_basket(tmp_path: Path) -> None:
    settings = rollout(tmp_path, "slice")
    assign = assigner(settings)
    assert assign is not None
    first, second = names("policy", 2)
    order = parent("p1", "A", 9000.0, basket=first, basket_usd=1e6)
    assert assign(order) == ("policy", 0.5)
    with ledger.locked(Places(settings.home).ledger) as held:
        held.append(ledger.entry("down", when=at(10.0), who="loop", stage="shadow",
                                 release="d" * 64, why="harm"))  # fmt: skip
    later = parent("p2", "A", 9000.0, basket=second, basket_usd=1e6)
    assert assign(later) == ("control", 1.0)
