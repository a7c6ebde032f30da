"""A simulated date in the shadow: tables, idempotence, refusals that leave nothing behind."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from crossimpact.errors import (
    CrossImpactError,
    EstimationError,
    GateRefused,
    StaleModel,
    UsageError,
)
from crossimpact.release.bundle import Release
from crossimpact.release.content import Window
from crossimpact.shadow.halves import split
from crossimpact.shadow.summary import lines
from crossimpact.shadow.tables import BasketRow, DayRow
from crossimpact.simulate import DeskSpec
from pipelines import shadow, simulate, tca, validate
from pipelines.shadow_day import read
from pipelines.shadow_halves import window_before
from pipelines.shadow_tables import BASKETS, DAILY, LAYER, SCHEMAS
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from tests.pipelines.tca_desk import model, release

SPEC = DeskSpec(symbols=5, days=9, seed=11, snapshot_s=60, noise_scale=0.3)
#: Cheap.
ASKED = shadow.Asked(horizon=1)


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> tuple[Settings, Path, list[str], Release]:
    """A desk, and a champion of its first eight dates, by whom nothing is judged."""
    root = tmp_path_factory.mktemp("desk")
    simulate.run(None, root, SPEC)
    settings, landing = Settings(root / "home"), Landing(root / "landing")
    dates = landing.all_dates()
    validate.run(settings, landing, dates)
    made = (model(regime) for regime in ("normal", "stressed"))
    window = Window(dates[0], dates[-2], len(dates) - 1)
    return (
        settings,
        root / "landing",
        dates,
        replace(release(*made), as_of=dates[-2], window=window),
    )


@pytest.fixture(autouse=True)
def promoted(desk, monkeypatch) -> None:
    """The champion, where no registry is."""
    champion = desk[-1]
    monkeypatch.setattr(shadow, "champion", lambda _: (champion, {}))
    monkeypatch.setattr(tca, "as_of", lambda _, date: tca.Pricing.by(champion, date))


@pytest.fixture(scope="module")
def result(desk) -> shadow.Result:
    settings, landing, dates, champion = desk
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shadow, "champion", lambda _: (champion, {}))
        patch.setattr(tca, "as_of", lambda _, date: tca.Pricing.by(champion, date))
        return shadow.run(settings, landing, dates[-1], ASKED)


def state(settings: Settings) -> dict[str, bytes]:
    """Every byte of the shadow's."""
    root = settings.home
    paths = [*(root / "shadow").rglob("*.*"), *(root / "warehouse" / LAYER).rglob("*.*")]
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(paths)}


def test_both_tables_have_the_declared_columns_and_a_row_for_all(desk, result):
    settings, _, dates, _ = desk
    warehouse = Warehouse(settings)
    for table, kind in ((BASKETS, BasketRow), (DAILY, DayRow)):
        (file,) = warehouse.files(LAYER, table, [dates[-1]])
        found = pq.ParquetFile(file).read()
        assert found.schema.remove_metadata().equals(SCHEMAS[table])
        assert found.column_names == [each.name for each in fields(kind)]
        assert found.num_rows == result.rows[table] > 0
    assert result.recomputed and len(result.daily) == 7 * 2 * 5


def test_what_was_executed_is_the_shortfall_of_tca(desk, result):
    settings, _, dates, _ = desk
    warehouse = Warehouse(settings)
    parents = warehouse.rows("marts", "tca_orders", dates[-1])
    paid = {}
    for row in parents:
        basket = row["basket_id"] or row["order_id"]
        paid[basket] = paid.get(basket, 0.0) + float(row["total_usd"])
    rows = [r for r in warehouse.rows(LAYER, BASKETS, dates[-1]) if r["policy"] == "executed"]
    assert {r["basket_id"] for r in rows} == set(paid)
    for row in rows:
        assert row["is_usd"] == pytest.approx(paid[row["basket_id"]], abs=1e-6)
        assert row["gain_bps"] == 0


def test_executed_flow_is_that_of_the_features(desk):
    """Fills by order and bucket, at the mids, are the buckets own flow to a hundredth."""
    from crossimpact.shadow.day import flows

    settings, _, dates, _ = desk
    recorded = read(settings, dates[-1])
    rows = Warehouse(settings).rows(settings.feature_layer, "buckets", dates[-1])
    theirs = sum(abs(row["q_usd"]) for row in rows)
    assert np.abs(flows(recorded.day, recorded.executed)).sum() == pytest.approx(theirs, rel=0.01)
    assert not recorded.day.other_flow.any()
    assert (recorded.day.volume >= 0).all() and recorded.day.volume.any()


def test_a_rerun_publishes_nothing_and_changes_no_byte(desk, result):
    settings, landing, dates, _ = desk
    before = state(settings)
    again = shadow.run(settings, landing, dates[-1], ASKED)
    assert not again.recomputed and again.daily == result.daily
    assert state(settings) == before


def refused(desk, error: type[CrossImpactError], match: str, date: str, home: Path) -> None:
    """Refused by name, and nothing of the date is there."""
    settings, landing, *_ = desk
    shutil.copytree(settings.home, home)
    other = Settings(home)
    shutil.rmtree(other.home / "warehouse" / LAYER, ignore_errors=True)
    with pytest.raises(error, match=match):
        shadow.run(other, landing, date, ASKED)
    assert Warehouse(other).manifest(LAYER, BASKETS, date) is None
    assert Warehouse(other).manifest(LAYER, DAILY, date) is None


def test_a_champion_newer_than_the_date_is_refused(desk, result, tmp_path):
    _, _, dates, champion = desk
    with pytest.raises(UsageError, match=f"has seen what came after {dates[3]}"):
        window_before(Landing(desk[1]), champion, dates[3])
    refused(desk, UsageError, "has seen what came after", dates[3], tmp_path / "home")


def test_on_the_release_s_own_date_both_halves_leave_it_out(desk):
    _, landing, dates, champion = desk
    assert window_before(Landing(landing), champion, champion.as_of) == tuple(dates[:-2])


def test_without_a_champion_nothing_is_written(desk, monkeypatch, tmp_path):
    def nobody(_: Settings) -> None:
        raise StaleModel("no release was ever promoted", "promote one")

    monkeypatch.setattr(shadow, "champion", nobody)
    refused(desk, StaleModel, "no release was ever promoted", desk[2][-1], tmp_path / "home")


@pytest.mark.parametrize("table", ["parent_orders", "public_trades"])
def test_a_date_without_orders_or_volume_is_refused(desk, table, monkeypatch, tmp_path):
    real = Warehouse.manifest

    def manifest(self, layer, name, date):
        found = real(self, layer, name, date)
        gone = (layer, name) == ("accepted", table)
        return replace(found, rows=0) if gone and found else found

    settings, _, dates, _ = desk
    monkeypatch.setattr(Warehouse, "manifest", manifest)
    what = {"parent_orders": "parent orders", "public_trades": "no volume"}[table]
    with pytest.raises(CrossImpactError, match=f"{dates[-1]} has no accepted .*{what}|{what}"):
        read(settings, dates[-1])


def test_a_run_killed_between_the_tables_is_made_again_to_the_byte(desk, result, tmp_path):
    """Halves included, which lie in another home here."""
    settings, landing, dates, _ = desk
    shutil.copytree(settings.home, tmp_path / "home")
    other = Settings(tmp_path / "home")
    (other.home / "warehouse" / LAYER / DAILY / f"date={dates[-1]}" / "_manifest.json").unlink()
    shutil.rmtree(other.home / "shadow")
    assert shadow.run(other, landing, dates[-1], ASKED).recomputed
    assert state(other) == state(settings)


def test_the_verdict_of_a_day_is_a_gate(result):
    good = replace(result, refused=())
    shadow.check(good)
    rows = tuple(
        replace(row, verdict="loss")
        if (row.policy, row.judge, row.kernel) == ("optimal", "independent", "release") else row
        for row in result.daily
    )  # fmt: skip
    told = shadow.refusals(rows)
    assert len(told) == 1 and told[0].startswith("optimal: loss, gain")
    with pytest.raises(GateRefused, match="optimal: loss") as refusal:
        shadow.check(replace(result, refused=told))
    assert refusal.value.exit_code == 4


def test_the_evidence_names_every_policy_and_is_json(result):
    told = lines(result.daily)
    assert [line.policy for line in told] == [
        "executed", "twap", "vwap", "self_only", "sector_block", "ranked", "optimal",
    ]  # fmt: skip
    assert told[0].gain_bps == 0 and told[0].verdict == "" and all(t.verdict for t in told[1:])
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain["daily"] == [asdict(row) for row in result.daily]


def test_halves_are_weeks_by_turns_and_too_few_dates_are_none():
    weeks = [f"2026-03-{day:02d}" for day in (2, 3, 4, 5, 6, 9, 10, 11, 12, 13)]
    assert split(weeks) == (tuple(weeks[5:]), tuple(weeks[:5]))
    one, other = split([*weeks[:5], *weeks[5:6], "2026-03-01", "2026-02-28"])
    assert abs(len(one) - len(other)) <= 2 and not {*one} & {*other}
    with pytest.raises(EstimationError, match="halves of 3 and 2, 4 each are needed"):
        split(weeks[:5])
