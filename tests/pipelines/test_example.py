"""`crossimpact init`, and the contract as a document."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from crossimpact import contract
from crossimpact.errors import UsageError
from pipelines import example
from pipelines.pages import contract_document
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.validate import run


def test_the_example_landing_keeps_the_whole_contract(tmp_path: Path) -> None:
    rows = example.write(tmp_path / "landing", "2026-03-02")
    assert rows == dict.fromkeys(contract.TABLES, 1) | {"benchmark_marks": 3}
    for name, table in contract.TABLES.items():
        (path,) = (tmp_path / "landing" / name).rglob("*.parquet")
        assert pq.read_schema(path).names == list(table.column_names)
    result = run(Settings(tmp_path / "home"), Landing(tmp_path / "landing"))
    assert result.verdict == "ok"
    assert all(counts["quarantined"] == 0 for counts in result.tables.values())
    with pytest.raises(UsageError, match="not an empty folder"):
        example.write(tmp_path / "landing", "2026-03-02")


def test_init_writes_where_it_is_told(crossimpact, tmp_path: Path) -> None:
    code, out, _ = crossimpact("init", tmp_path / "new", "--date", "2026-03-02", "--json")
    assert code == 0 and '"date": "2026-03-02"' in out
    assert (tmp_path / "new/child_fills/date=2026-03-02/part-0.parquet").exists()
    assert crossimpact("init", tmp_path / "new")[0] == 2


def test_the_document_of_the_current_version_agrees_with_the_declaration() -> None:
    """After a change write it anew: `crossimpact audit contract show`."""
    kept = contract_document.VERSIONS / f"{contract.VERSION}.yaml"
    assert kept.read_text() == contract_document.document()
    plain = yaml.safe_load(kept.read_text())
    assert (plain["kind"], plain["version"]) == ("DataContract", contract.VERSION)
    assert plain["apiVersion"].startswith("v3.")
    assert plain["team"] and contract.VERSION in contract_document.CHANGES
    for table in plain["schema"]:
        declared = contract.TABLES[table["name"]]
        assert [c["name"] for c in table["properties"]] == list(declared.column_names)
        assert [c["required"] for c in table["properties"]] == [
            not c.nullable for c in declared.columns
        ]
        keys = {
            c["primaryKeyPosition"]: c["name"] for c in table["properties"] if "primaryKey" in c
        }
        assert tuple(keys[n] for n in sorted(keys)) == declared.key
        named = {rule["name"] for rule in table.get("quality", ())}
        assert {r.id for r in contract.CROSS_RULES if r.table == declared.name} <= named


def test_two_versions_differ_by_what_the_change_log_says() -> None:
    changes = contract_document.difference("1", "2")
    found = {(row["table"], row["what"], row["field"]): (row["from"], row["to"]) for row in changes}
    assert found["child_fills", "column fill_qty", "logicalType"] == ("integer", "number")
    assert found["child_fills", "column venue", "primaryKeyPosition"] == ("-", "2")
    assert found["peer_flow", "table", "optional"] == ("False", "True")
    assert not any(what == "column adv_notional" for _, what, _ in found)
    assert contract_document.difference("2", "2") == []
    with pytest.raises(UsageError, match="no version 99; known are 1, 2"):
        contract_document.difference("1", "99")


def test_the_example_of_any_weekday_is_dated_as_asked(tmp_path: Path) -> None:
    day = date(2026, 1, 5).isoformat()
    example.write(tmp_path / "landing", day)
    assert Landing(tmp_path / "landing").all_dates() == [day]
