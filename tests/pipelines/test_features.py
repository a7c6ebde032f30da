"""Features: the contract's formulas by hand, and nothing in the past knows the future."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pytest

from crossimpact.errors import CrossImpactError
from crossimpact.simulate import DeskSpec
from pipelines import features, simulate, validate
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, sql

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


#: Log ratios of stressed to normal, of the open and close to noon, and the noise of one estimate.
STRESS = {"vol_bps": np.log(2), "spread_bps": np.log(1.5), "depth_usd": np.log(0.6)}
U_SHAPE = {"vol_bps": np.log(2), "spread_bps": np.log(1.3), "depth_usd": np.log(0.6)}
NOISE = {"vol_bps": 0.1, "spread_bps": 0.06, "depth_usd": 0.12}


def _planted(
    symbols=6, days=8, u=1.0, spells=((2, 20, 8), (4, 40, 90)), moves=tuple(STRESS), wander=0.0
):
    """Buckets of a market with a U over the session and stressed `spells` (day, bucket, length).

    The level of every date lies off by the log standard deviation `wander`, in each component.
    """
    rng, slots = np.random.default_rng(5), 78
    levels = np.random.default_rng(6).normal(0, wander, (days, len(NOISE)))
    stressed = np.zeros(days * slots, dtype=bool)
    for day, bucket, length in spells:
        stressed[day * slots + bucket :][:length] = True
    shape = u * np.tile(np.linspace(-1, 1, slots) ** 2, days)
    dates = np.datetime64("2026-03-02") + np.repeat(np.arange(days), slots)
    minutes = np.timedelta64(870, "m") + np.tile(np.arange(slots) * 5, days)
    columns = {
        "date": np.repeat(dates.astype("datetime64[s]"), symbols),
        "ts": np.repeat(dates.astype("datetime64[us]") + minutes, symbols),
        "symbol": np.tile(np.array([f"S{i}" for i in range(symbols)], dtype=object), days * slots),
    }
    for (name, noise), of_dates in zip(NOISE.items(), levels.T, strict=True):
        market = U_SHAPE[name] * shape + STRESS[name] * stressed * (name in moves)
        market += np.repeat(of_dates, slots)
        own = rng.normal(2, 1, symbols) + noise * rng.standard_normal((days * slots, symbols))
        level = np.exp(market[:, None] + own)
        level[rng.random(level.shape) < 0.05] = 0  # no level
        columns[name] = level.ravel()
    return columns, stressed


def _labels(columns, until=None) -> dict[datetime.datetime, str]:
    """Labels of every date from the buckets before `until`."""
    found = {}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET threads = 1")
        keep = columns["ts"] < (until or np.datetime64("2100-01-01"))
        connection.register("planted", {name: values[keep] for name, values in columns.items()})
        connection.execute(
            "CREATE TABLE every AS SELECT * REPLACE (date::DATE AS date, timezone('UTC', ts) AS ts)"
            " FROM planted"
        )
        for (date,) in connection.execute("SELECT DISTINCT date FROM every ORDER BY 1").fetchall():
            connection.execute(
                "CREATE OR REPLACE TABLE buckets AS SELECT * FROM every WHERE date <= ?", [date]
            )
            found |= connection.execute(
                f"SELECT ts::TIMESTAMP, regime FROM ({sql('features/regimes')})",
                {"date": date, **features.REGIME_PARAMETERS},
            ).fetchall()
    return found


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"u": 0.0},
        {"symbols": 1},
        {"days": 5, "spells": ((1, 30, 20), (3, 0, 78))},
        {"moves": ("vol_bps",)},
        {"moves": ("spread_bps",)},
    ],
    ids=str,
)
def test_labels_see_stress_through_the_shape_of_the_session(knobs):
    columns, stressed = _planted(**knobs)
    labels = _labels(columns)
    found = np.array([labels[ts] == "stressed" for ts in sorted(labels)])
    assert (found == stressed).mean() >= 0.97
    assert stressed[found].mean() >= 0.85


@pytest.mark.parametrize("wander", [0.1, 0.2])
def test_a_day_is_not_stressed_for_lying_as_high_as_days_do(wander):
    """Hardly a normal bucket is called stressed; stress within a day is seen all the same."""
    columns, stressed = _planted(days=12, spells=((2, 20, 12), (9, 30, 40)), wander=wander)
    labels = _labels(columns)
    found = np.array([labels[ts] == "stressed" for ts in sorted(labels)])
    assert found[stressed].mean() >= 0.9 and found[~stressed].mean() <= 0.02


@pytest.mark.parametrize("u", [0.0, 1.0])
def test_a_market_without_stress_is_almost_never_labelled_stressed(u):
    labels = _labels(_planted(u=u, spells=())[0])
    assert np.mean([regime == "stressed" for regime in labels.values()]) <= 0.01


@pytest.mark.parametrize("cut", ["2026-03-02T16:00", "2026-03-04T16:35", "2026-03-06T18:00"])
def test_no_label_changes_when_later_buckets_arrive(cut):
    columns, _ = _planted()
    whole, early = _labels(columns), _labels(columns, np.datetime64(cut))
    assert early == {ts: whole[ts] for ts in early} and len(early) > 10


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
