"""Features: the contract's formulas by hand, and nothing in the past knows the future."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import numpy as np
import pytest

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
    features.label(settings, dates)


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
        rows = connection.execute(sql("features/buckets"), width | {"max_age_s": 60}).fetchnumpy()
        end = rows["ts"].astype("datetime64[s]") + np.timedelta64(settings.bucket_s, "s")
        keep = end <= cut
        return list(zip(*(np.ma.filled(rows[name], 0)[keep] for name in rows), strict=True))

    whole, half = buckets(f"{dates[0]} 23:59:59"), buckets(f"{dates[0]} 17:00:00")
    assert whole == half and len(whole) > 100


def test_a_bucket_by_hand():
    """Two fills in one bucket, against the contract's formulas computed on paper."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("""
        CREATE TABLE instruments AS SELECT * FROM (VALUES ('A', 'tech', 1e6))
            AS t(symbol, sector, adv_notional);
        CREATE TABLE market_snapshots AS SELECT 'A' AS symbol, ts::TIMESTAMPTZ AS ts,
            mid - 0.01 AS bid_px, mid + 0.01 AS ask_px, 100.0 AS bid_size, 300.0 AS ask_size,
            NULL::DOUBLE AS short_vol_bps
            FROM (VALUES ('2026-03-02 14:29:30Z', 100.0), ('2026-03-02 14:32:00Z', 100.5),
                         ('2026-03-02 14:34:55Z', 101.0), ('2026-03-02 14:35:01Z', 200.0))
            AS t(ts, mid);
        CREATE TABLE child_fills AS SELECT 'A' AS symbol, side, ts::TIMESTAMPTZ AS fill_ts, fill_px,
            fill_qty FROM (VALUES ('BUY', '2026-03-02 14:31:00Z', 100.2, 30),
                                  ('BUY', '2026-03-02 14:34:59Z', 100.8, 10))
            AS t(side, ts, fill_px, fill_qty);
        CREATE TABLE peer_flow AS SELECT 'A' AS symbol, TIMESTAMPTZ '2026-03-02 14:30:00Z' AS ts,
            5000.0 AS sector_flow, -2000.0 AS factor_flow;
    """)
    connection.execute(f"CREATE TABLE flow AS {sql('features/flow_own')}", {"bucket_s": 300})
    query, parameters = sql("features/buckets"), {"bucket_s": 300, "max_age_s": 60}
    found = connection.execute(query, parameters).fetchnumpy()
    row = {name: values[0] for name, values in found.items()}
    assert len(found["ts"]) == 1
    vwap = (30 * 100.2 + 10 * 100.8) / 40
    assert (row["mid_start"], row["mid_end"]) == (100.0, 101.0)
    assert row["move_bps"] == pytest.approx(100.0)
    assert row["q_usd"] == pytest.approx(4014.0)
    assert row["q_adv"] == pytest.approx(4014.0 / 1e6)
    assert row["s_bps"] == pytest.approx(1e4 * (vwap - 100) / 100)
    assert row["n_fills"] == 2
    assert (row["sector_flow_adv"], row["factor_flow_adv"]) == (0.005, -0.002)


def test_labels_follow_the_planted_regimes(desk):
    """A clear regime is labelled from its own buckets, without lag and without flicker."""
    settings, _, dates = desk
    panel = features.load_panel(settings, dates)
    vol = np.nanstd(panel.move, axis=1)
    stressed = panel.regime == "stressed"
    assert np.median(vol[stressed]) > 1.5 * np.median(vol[~stressed])
    assert np.abs(np.diff(stressed.astype(int))).sum() < 12


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (
            [1, 1, 2.0, 1.4, 1.4, 1],
            ["normal", "normal", "stressed", "stressed", "stressed", "normal"],
        ),
        ([1.4, 1.4, 1.0], ["normal"] * 3),
    ],
)
def test_hysteresis(levels, expected):
    """Entered above the upper threshold only, left below the lower one only."""
    calm = 20
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        "CREATE TABLE buckets AS SELECT DATE '2026-03-02' AS date, 'A' AS symbol, "
        "TIMESTAMPTZ '2026-03-02 14:30Z' + to_minutes(5 * i::BIGINT) AS ts, "
        "10 * level AS vol_bps, 5.0 AS spread_bps, 1e5 AS depth_usd "
        "FROM (SELECT unnest($levels) AS level, generate_subscripts($levels, 1) AS i)",
        {"levels": [1.0] * calm + levels},
    )
    parameters = {"date": "2026-03-02", **features.REGIME_PARAMETERS}
    labels = connection.execute(
        f"SELECT regime FROM ({sql('features/regimes')})", parameters
    ).fetchnumpy()["regime"]
    assert list(labels) == ["normal"] * calm + expected


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
