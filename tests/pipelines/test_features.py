"""Features: the contract's formulas by hand, and nothing in the past knows the future."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import numpy as np
import pytest

from crossimpact.errors import CrossImpactError
from crossimpact.simulate import DeskSpec
from pipelines import features, simulate, validate
from pipelines.config import Settings
from pipelines.landing import Landing
from pipelines.warehouse import Warehouse, sql

SPEC = DeskSpec(symbols=5, days=3, seed=11)


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> tuple[Settings, Path, list[str]]:
    """A clean small desk, validated, with features and labels."""
    root = tmp_path_factory.mktemp("desk")
    simulate.run(None, root, SPEC)
    settings, landing = Settings(root / "home"), Landing(root / "landing")
    dates = landing.all_dates()
    validate.run(settings, landing, dates)
    _build(settings, dates)
    return settings, root / "landing", dates


def _build(settings: Settings, dates: list[str]) -> None:
    for date in dates:
        features.build(settings, date)
    features.label(settings, dates, dates)


def _digests(settings: Settings, dates: list[str]) -> dict[tuple[str, str], str]:
    warehouse = Warehouse(settings)
    return {
        (table, date): warehouse.manifest(settings.feature_layer, table, date).sha256
        for table in ("buckets", "overlap", "regimes")
        for date in dates
    }


def test_truncating_the_future_changes_nothing_in_the_past(desk, tmp_path):
    settings, landing, dates = desk
    early = tmp_path / "landing"
    shutil.copytree(landing, early)
    for partition in early.glob(f"*/date={dates[-1]}"):
        shutil.rmtree(partition)
    past = Settings(tmp_path / "home")
    validate.run(past, Landing(early), dates[:-1])
    _build(past, dates[:-1])
    assert _digests(past, dates[:-1]) == _digests(settings, dates[:-1])


def test_truncating_within_a_day_changes_no_earlier_bucket(desk):
    """Cut the day's rows at noon: every bucket that ended before is the same, bit for bit."""
    settings, landing, dates = desk
    cut = np.datetime64(f"{dates[0]}T17:00")

    def buckets(until: str) -> list[tuple]:
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET threads = 1")
        for table, time in (
            ("instruments", None), ("market_snapshots", "ts"), ("child_fills", "fill_ts"),
            ("peer_flow", "ts"),
        ):  # fmt: skip
            where = f"WHERE {time} <= TIMESTAMPTZ '{until}+00'" if time else ""
            connection.execute(
                f"CREATE TABLE {table} AS SELECT * FROM read_parquet("
                f"'{landing}/{table}/date={dates[0]}/*.parquet', hive_partitioning = false) {where}"
            )
        width = {"bucket_s": settings.bucket_s}
        connection.execute(f"CREATE TABLE flow AS {sql('features/flow_own')}", width)
        rows = connection.execute(
            sql("features/buckets"), width | {"max_age_s": 60, "opening_s": 10}
        ).fetchnumpy()
        end = rows["ts"].astype("datetime64[s]") + np.timedelta64(settings.bucket_s, "s")
        keep = end <= cut
        return list(zip(*(np.ma.filled(rows[name], 0)[keep] for name in rows), strict=True))

    whole, half = buckets(f"{dates[0]} 23:59:59"), buckets(f"{dates[0]} 17:00:00")
    assert whole == half and len(whole) > 100


def test_labels_come_from_the_landing_not_from_what_a_home_holds(desk, tmp_path):
    """A window fitted first in a fresh home has the labels it has after a full history."""
    settings, landing, dates = desk
    fresh = Settings(tmp_path / "home")
    features.prepare(fresh, Landing(landing), dates[-1:])
    warehouse = Warehouse(fresh)
    found = warehouse.manifest(fresh.feature_layer, "regimes", dates[-1]).sha256
    assert found == _digests(settings, dates)["regimes", dates[-1]]


def test_a_deleted_partition_is_made_again_not_left_out(desk, tmp_path):
    settings, landing, dates = desk
    home = Settings(tmp_path / "home")
    features.prepare(home, Landing(landing), dates)
    shutil.rmtree(Warehouse(home).folder(home.feature_layer, "buckets", dates[1]))
    with pytest.raises(CrossImpactError, match="have no buckets"):
        features.load_panel(home, dates)
    features.prepare(home, Landing(landing), dates)
    assert _digests(home, dates) == _digests(settings, dates)


@pytest.mark.parametrize("bucket_s", [60, 900])
def test_peer_flow_adds_up_on_any_bucket_width(desk, tmp_path, bucket_s):
    settings, landing, dates = desk
    other = Settings(settings.home, bucket_s=bucket_s)
    features.prepare(other, Landing(landing), dates)
    totals = [
        (panel.sector_flow * panel.adv).sum()
        for panel in (features.load_panel(settings, dates), features.load_panel(other, dates))
    ]
    assert totals[1] == pytest.approx(totals[0], rel=1e-6)


def test_labels_follow_the_planted_regimes(desk):
    """A clear regime is labelled from its own buckets, without lag and without flicker."""
    settings, _, dates = desk
    panel = features.load_panel(settings, dates)
    vol = np.nanstd(panel.move, axis=1)
    stressed = panel.regime == "stressed"
    assert np.median(vol[stressed]) > 1.5 * np.median(vol[~stressed])
    assert np.abs(np.diff(stressed.astype(int))).sum() < 12


def test_the_panel_agrees_with_the_landed_fills(desk):
    """Total signed notional in the panel is the landed fills' own, to the cent."""
    settings, landing, dates = desk
    panel = features.load_panel(settings, dates)
    connection, warehouse = duckdb.connect(), Warehouse(settings)
    (landed,) = connection.execute(
        "SELECT sum(if(side = 'BUY', 1, -1) * (fill_px * fill_qty)::DECIMAL(30, 6))::DOUBLE "
        f"FROM read_parquet('{landing}/child_fills/*/*.parquet')"
    ).fetchone()
    (kept,) = connection.execute(
        "SELECT sum(q_usd) FROM read_parquet(?)",
        [warehouse.files(settings.feature_layer, "buckets", dates)],
    ).fetchone()
    assert kept == pytest.approx(landed, abs=0.01)
    assert panel.q.shape == (3 * 78, 5)
    assert (np.isfinite(panel.s) <= (panel.q != 0)).all()


def test_a_rerun_recomputes_nothing(desk):
    settings, _, dates = desk
    warehouse = Warehouse(settings)
    folder = warehouse.folder(settings.feature_layer, "buckets", dates[0])
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    _build(settings, dates)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
