"""The demo desk on disk: the contract's layout and types, a truth one can read back, known dirt."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from crossimpact import contract
from crossimpact.errors import UsageError
from crossimpact.model import ImpactModel
from crossimpact.simulate import DeskSpec, plan_market, simulate_day, spoil
from crossimpact.simulate.dirt import KINDS
from pipelines import simulate
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from tests.pipelines import desk
from tests.pipelines.desk import validate_date

SPEC = DeskSpec(symbols=10, days=5, seed=11)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    simulate.run(None, folder, SPEC, dirt=True)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_layout_and_types_are_the_contract(out: Path) -> None:
    for name, table in contract.TABLES.items():
        folders = sorted((out / "landing" / name).iterdir())
        assert [folder.name for folder in folders] == [f"date={date}" for date in SPEC.dates]
        for folder in folders:
            schema = pq.ParquetFile(folder / simulate.FILE_NAME).schema_arrow
            landed = [c for c in table.columns if c.name not in desk.V2_ONLY]
            assert schema.names == [column.name for column in landed]
            expected = [simulate._ARROW_TYPE[column.type] for column in landed]
            assert schema.types == expected


def test_same_spec_same_bytes_and_an_old_desk_is_replaced(out: Path, tmp_path: Path) -> None:
    simulate.run(None, tmp_path, DeskSpec(symbols=2, days=7))
    result = simulate.run(None, tmp_path, SPEC, dirt=True)
    assert contents(tmp_path) == contents(out)
    assert json.loads(json.dumps(result.to_dict()))["rows"]["instruments"] == 50


def test_foreign_data_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "landing" / "instruments").mkdir(parents=True)
    with pytest.raises(UsageError, match="not a demo desk"):
        simulate.run(None, tmp_path, SPEC)
    assert (tmp_path / "landing" / "instruments").is_dir()


def test_truth_reads_back_as_admissible_models(out: Path) -> None:
    truth = json.loads((out / "truth.json").read_text())
    assert len(truth["buckets"]) == SPEC.days * SPEC.buckets
    assert {bucket["regime"] for bucket in truth["buckets"]} == {"normal", "stressed"}
    for regime, numbers in truth["regimes"].items():
        model = ImpactModel(
            symbols=tuple(truth["symbols"]),
            sectors=tuple(truth["sectors"]),
            adv=truth["adv"],
            regime=regime,
            alpha=numbers["alpha_bps"],
            beta=numbers["beta_bps"],
            gamma=numbers["gamma_bps"],
        )
        np.testing.assert_allclose(model.scaled, model.scaled.T, rtol=1e-12)
        assert model.edges == len(numbers["edges"]) > 0
        assert np.isfinite(model.condition_number)


@pytest.mark.parametrize("name", [name for name, t in contract.TABLES.items() if t.row_rules])
def test_a_clean_desk_breaks_no_row_rule(name: str) -> None:
    tables = simulate_day(plan_market(SPEC), 1)
    with duckdb.connect() as connection:
        landed = simulate.arrow_table(contract.TABLES[name], tables[name])
        absent = [c for c in contract.TABLES[name].column_names if c not in landed.column_names]
        rows = connection.from_arrow(landed)
        rows = rows.project(", ".join(["*", *(f"NULL::VARCHAR AS {c}" for c in absent)]))
        for rule in contract.TABLES[name].row_rules:
            assert not rows.filter(f"NOT ({rule.sql})").fetchall(), rule.id


def test_the_rows_in_quarantine_are_the_rows_that_were_spoiled(tmp_path: Path) -> None:
    spec = DeskSpec(symbols=10, days=1, seed=2)
    truth = plan_market(spec)
    tables, spoiled = spoil(simulate_day(truth, 0), truth, 0, list(KINDS))
    assert len(spoiled) == len(KINDS)
    simulate._write_day(tmp_path / "landing", spec.dates[0], tables)
    settings = Settings(home=tmp_path / "home")
    report = validate_date(settings, Landing(tmp_path / "landing"), spec.dates[0])
    assert not report.problems
    assert {(item.table, item.row, item.rule) for item in spoiled} <= (
        found := violations(settings)
    )
    assert {(table, row) for table, row, _ in found} == {(item.table, item.row) for item in spoiled}


def violations(settings: Settings) -> set[tuple[str, int, str]]:
    files = settings.home.glob("warehouse/violations/*/*/*.parquet")
    return {
        (path.parts[-3], row["row"], row["rule_id"])
        for path in files
        for row in pq.ParquetFile(path).read(["row", "rule_id"]).to_pylist()
    }
