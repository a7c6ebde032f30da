"""Stored moments: the panel's own sums to the last bit, made once per date, never stale."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from crossimpact.errors import CrossImpactError
from crossimpact.estimate.refit import fit_regime
from crossimpact.estimate.weighted_rows import (
    TRANSFORMS,
    History,
    WeightedRows,
    history,
    stacked,
)
from crossimpact.simulate import DeskSpec
from pipelines import features, moments, simulate, validate
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

SPEC = DeskSpec(symbols=5, days=5, seed=11, snapshot_s=60)
TABLES = tuple(f"moments_{transform}" for transform in TRANSFORMS)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Settings, list[str]]:
    """A small desk with features, before anything was summed."""
    root = tmp_path_factory.mktemp("desk")
    simulate.run(None, root, SPEC)
    settings, landing = Settings(root / "home"), Landing(root / "landing")
    dates = landing.all_dates()
    validate.run(settings, landing, dates)
    features.prepare(settings, landing, dates)
    return settings, dates


@pytest.fixture
def desk(built, tmp_path) -> tuple[Settings, list[str]]:
    settings, dates = built
    shutil.copytree(settings.home, tmp_path / "home")
    return Settings(tmp_path / "home"), dates


@pytest.fixture
def reads(monkeypatch) -> Iterator[list[tuple[str, str]]]:
    """Table and date of every partition whose data are opened."""
    found: list[tuple[str, str]] = []
    file = Warehouse.file

    def spy(self, manifest):
        found.append((manifest.table, manifest.date))
        return file(self, manifest)

    monkeypatch.setattr(Warehouse, "file", spy)
    return found


def stored(settings: Settings, dates: list[str]) -> dict[tuple[str, str], str]:
    warehouse = Warehouse(settings)
    return {
        (table, date): manifest.sha256
        for table in TABLES
        for date in dates
        if (manifest := warehouse.manifest(settings.feature_layer, table, date))
    }


def written(settings: Settings) -> dict[Path, int]:
    folders = Warehouse(settings).root / settings.feature_layer
    return {path: path.stat().st_mtime_ns for path in folders.glob("moments_*/*/*")}


def republish(settings: Settings, date: str, where: str) -> None:
    """The date's buckets again, those only that `where` keeps."""
    warehouse, layer = Warehouse(settings), settings.feature_layer
    manifest = warehouse.manifest(layer, "buckets", date)
    query = (
        f"SELECT * FROM read_parquet('{warehouse.file(manifest)}', hive_partitioning = false) "
        f"WHERE {where}"
    )
    with warehouse.connect() as connection:
        warehouse.publish(
            connection, query, layer, "buckets", date, inputs=manifest.inputs, extra=manifest.extra
        )


def joined(days: History, regime: str) -> WeightedRows:
    return stacked([day[regime] for _, day in days if regime in day])


def assert_equal(one: WeightedRows, other: WeightedRows, rtol: float = 0.0) -> None:
    assert (one.symbols, one.buckets) == (other.symbols, other.buckets)
    for name, array in one.arrays().items():
        wanted = other.arrays()[name]
        scale = np.abs(np.nan_to_num(wanted)).max(initial=0.0)
        np.testing.assert_allclose(array, wanted, rtol=rtol, atol=rtol * scale, err_msg=name)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_every_day_and_their_rows_joined_are_the_panels_to_the_last_bit(desk, transform):
    settings, dates = desk
    moments.prepare(settings, dates)
    panel = features.load_panel(settings, dates)
    with threadpool_limits(limits=1):
        whole = list(history(panel, transform))
    found = list(moments.stream(settings, dates, transform))
    assert [date for date, _ in found] == dates
    for (_, day), (_, expected) in zip(found, whole, strict=True):
        assert day.keys() == expected.keys()
        for regime, of_day in day.items():
            assert_equal(of_day, expected[regime])
    for regime in ("normal", "stressed"):
        assert_equal(joined(found, regime), joined(whole, regime))
        assert joined(found, regime).buckets == (panel.regime == regime).sum()


def test_a_name_listed_later_has_neither_traded_nor_moved_before(desk):
    settings, dates = desk
    panel = features.load_panel(settings, dates)
    republish(settings, dates[0], f"symbol <> '{panel.symbols[0]}'")
    moments.prepare(settings, dates)
    whole = history(features.load_panel(settings, dates), "linear")
    found = list(moments.stream(settings, dates, "linear"))
    first = next(iter(found[0][1].values()))
    assert first.symbols == panel.symbols[1:]
    assert_equal(joined(found, "normal"), joined(whole, "normal"), rtol=1e-12)


def test_a_fit_on_stored_moments_is_the_fit_on_the_panel(desk):
    settings, dates = desk
    moments.prepare(settings, dates)
    panel = features.load_panel(settings, dates)
    direct = fit_regime(panel, "normal")
    kept = fit_regime(panel, "normal", moments=lambda t: moments.stream(settings, dates, t))
    assert kept.model.digest == direct.model.digest
    assert kept.metrics == direct.metrics


def test_a_rerun_writes_nothing_and_another_home_gets_the_same_bytes(desk, built, tmp_path):
    settings, dates = desk
    assert moments.prepare(settings, dates)["made"] == dates
    before, files = stored(settings, dates), written(settings)
    assert moments.prepare(settings, dates)["made"] == []
    assert written(settings) == files
    shutil.copytree(built[0].home, tmp_path / "other")
    other = Settings(tmp_path / "other")
    for date in reversed(dates):  # alone, and in another order
        moments.prepare(other, [date])
    assert stored(other, dates) == before and len(before) == 2 * len(dates)


def test_a_new_day_costs_its_own_features_however_many_days_are_there(desk, reads):
    settings, dates = desk
    for known, date in enumerate(dates):
        reads.clear()
        assert moments.prepare(settings, dates[: known + 1])["made"] == [date]
        assert sorted(reads) == [("buckets", date), ("regimes", date)]


def test_streaming_opens_one_partition_at_a_time(desk, reads):
    settings, dates = desk
    moments.prepare(settings, dates)
    reads.clear()
    for known, (date, _) in enumerate(moments.stream(settings, dates, "sqrt"), start=1):
        assert len(reads) == known and reads[-1] == ("moments_sqrt", date)


def test_changed_features_are_refused_then_summed_again(desk):
    settings, dates = desk
    moments.prepare(settings, dates)
    before = stored(settings, dates)
    republish(settings, dates[1], "true")
    assert moments.prepare(settings, dates)["made"] == []  # the same content is no change
    symbol = features.load_panel(settings, dates).symbols[0]
    republish(settings, dates[1], f"symbol <> '{symbol}'")
    with pytest.raises(
        CrossImpactError, match=f"moments_linear of {dates[1]} are missing or older"
    ):
        list(moments.stream(settings, dates, "linear"))
    assert moments.prepare(settings, dates)["made"] == [dates[1]]
    after = stored(settings, dates)
    assert {key[1] for key in after if after[key] != before[key]} == {dates[1]}


def test_other_code_sums_again(desk, monkeypatch):
    settings, dates = desk
    moments.prepare(settings, dates[:1])
    monkeypatch.setattr(moments, "code_digest", lambda module: "another estimator")
    assert moments.prepare(settings, dates[:1])["made"] == dates[:1]


def test_a_day_without_any_book_adds_nothing(desk):
    settings, dates = desk
    republish(settings, dates[0], "false")
    moments.prepare(settings, dates)
    found = dict(moments.stream(settings, dates, "linear"))
    assert found[dates[0]] == {} and found[dates[1]]


def test_a_date_without_features_is_named(desk):
    settings, dates = desk
    with pytest.raises(CrossImpactError, match="2031-01-01 has no buckets"):
        moments.prepare(settings, ["2031-01-01"])
    with pytest.raises(CrossImpactError, match=f"moments_sqrt of {dates[0]} are missing"):
        list(moments.stream(settings, dates, "sqrt"))
