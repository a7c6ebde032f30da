"""The whole job through the DAGs on a small dirty desk: first run, rerun, broken landing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

from crossimpact import contract
from pipelines import release
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from pipelines.tca_columns import FIVE
from registry import tracking


def test_rows_in_are_rows_accepted_plus_quarantined(first):
    assert set(first["tables"]) == set(contract.TABLES)
    for rows in first["tables"].values():
        assert rows["landed"] > 0
        assert rows["landed"] == rows["accepted"] + rows["quarantined"]


def test_every_planted_broken_row_was_found_by_its_rule(first, home):
    planted = json.loads((home / "demo" / "truth.json").read_text())["dirt"]
    assert planted
    warehouse = Warehouse(Settings(home))
    found = {
        (table, date, Path(row["file"]).name, row["row"], row["rule_id"])
        for table in contract.TABLES
        for date in warehouse.dates("violations", table)
        for file in warehouse.files("violations", table, [date])
        for row in pq.read_table(file).to_pylist()
    }
    for broken in planted:
        where = (broken["table"], broken["date"], broken["file"], broken["row"], broken["rule"])
        assert where in found


def test_the_release_is_champion_and_verifies(first, home):
    champion, facts = release.champion(Settings(home))
    assert champion.digest == first["champion"]["digest"]
    assert facts.version == first["champion"]["version"] == 1
    assert release.ledger_verify(Settings(home)).ok
    assert first["regimes"]["normal"]["buckets"] > 0


def test_the_shortfall_closes_exactly_parent_by_parent(first, home):
    warehouse = Warehouse(Settings(home))
    dates = warehouse.dates("marts", "tca_orders")
    assert dates == first["shortfall"]["dates"]
    parents = [
        row
        for file in warehouse.files("marts", "tca_orders", dates)
        for row in pq.read_table(file).to_pylist()
    ]
    assert parents
    for row in parents:
        assert row["total_usd"] == sum(row[f"{part}_usd"] for part in FIVE)


def test_there_are_reports(first):
    assert first["reports"]
    assert all(Path(path).stat().st_size > 1000 for path in first["reports"])


def test_a_broken_table_blocks_and_leaves_its_date_as_it_was(first, demos):
    broken, date = demos["broken"], first["shortfall"]["dates"][-1]
    assert broken["code"] == 3
    message = broken["error"]
    assert "child_fills.fill_px" in message
    assert date in message
    after = broken["state"]
    assert after.items() <= demos["first"]["state"].items()
    assert f"warehouse/days/date={date}/_manifest.json" in after


def test_what_a_live_scheduler_gets_after_the_demo_is_live(first):
    assert first["pull"]["state"] == "live", first["pull"]["reason"]
    assert first["pull"]["digest"] == first["champion"]["digest"]
    assert first["window"]["last"] < datetime.now(UTC).date().isoformat()


def test_the_last_date_is_played_live_by_the_champion_and_its_journal_is_whole(first):
    live, date = first["live"], first["shortfall"]["dates"][-1]
    assert live["session"] == f"demo-{date}-{first['champion']['digest'][:8]}"
    assert live["problem"] == "" and live["decisions"] > 10
    assert live["answered"].get("optimal", 0) + live["answered"].get("ranked", 0) > 0
    assert sum(live["minutes"].values()) > 60 and (live["mode"], live["level"]) == (
        "advisory", "RUN",
    )  # fmt: skip
    assert [path for path in first["reports"] if path.endswith(f"live-{date}.html")]


def test_a_champion_of_too_few_dates_leaves_the_shadow_empty(first, home):
    """Five dates before the last one make no two halves: the DAG says so and fails nothing."""
    assert first["shadow"] == []
    assert not Warehouse(Settings(home)).dates("shadow", "shadow_daily")


def test_the_champion_leads_back_to_the_run_that_made_it(first, home):
    version = tracking.find(Settings(home).mlflow_uri, "champion")
    assert version.tags["airflow.dag_id"] == "monthly_refit"
    assert version.tags["airflow.run_id"].startswith("manual__")


def test_a_rerun_gives_everything_again_bit_by_bit(first, demos):
    """Also after a broken table was mended: its date was stale meanwhile, and is live again."""
    again = demos["mended"]["found"]
    for name in ("tables", "regimes", "edges", "champion", "shortfall", "reports", "live"):
        assert again[name] == first[name]
    assert demos["mended"]["state"] == demos["first"]["state"]
