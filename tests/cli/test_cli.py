"""The command line on bad input: one line, the documented exit code, nothing half-published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crossimpact.errors import CrossImpactError
from crossimpact.simulate import DeskSpec
from pipelines import features, moments, refit, simulate
from pipelines.split import LAYERS
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings

OK, ERROR, USAGE, BLOCKED, REFUSED, STALE = range(6)


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("clean")
    lately = str(np.busday_offset(np.datetime64("today") - 7, 0, roll="forward"))
    spec = DeskSpec(symbols=4, days=2, seed=3, stressed=False, first_date=lately)
    simulate.run(None, root, spec)  # of last week: an old release would not be promoted
    return root / "landing"


@pytest.fixture
def landing(clean, tmp_path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "landing"))


@pytest.fixture(scope="module")
def refitted(clean, mlflow_tables, tmp_path_factory) -> Path:
    """A home in which the clean landing was refitted."""
    home = tmp_path_factory.mktemp("refitted") / "home"
    (home / "mlflow").mkdir(parents=True)
    shutil.copy(mlflow_tables, home / "mlflow" / "mlflow.db")
    refit.run(Settings(home), clean)
    return home


@pytest.fixture
def validated(refitted, tmp_path) -> Path:
    """A home that knows the verdict on the clean landing and nothing else."""
    home = tmp_path / "validated"
    for layer in (*LAYERS, "days"):
        shutil.copytree(refitted / "warehouse" / layer, home / "warehouse" / layer)
    return home


def part(landing: Path, table: str, day: int = 0) -> Path:
    return sorted(landing.glob(f"{table}/date=*/part-0.parquet"))[day]


def one_line(err: str) -> str:
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    return lines[0]


def test_a_missing_landing_folder(crossimpact, tmp_path):
    code, _, err = crossimpact("refit", tmp_path / "nowhere", "--home", tmp_path / "home")
    assert code == USAGE
    assert "nowhere" in one_line(err)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    pq.write_table(pq.read_table(path).slice(0, 0), path)


def retype(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    at = table.column_names.index("bid_px")
    pq.write_table(table.set_column(at, "bid_px", table["bid_px"].cast(pa.string())), path)


SPOILT = {truncate: "unreadable", empty: "row_count", retype: "bid_px", Path.unlink: "missing"}


def test_a_broken_table_blocks_names_itself_and_mends(crossimpact, landing, validated):
    """One way after the other: the date stays out until its table is whole again."""
    home, broken = validated, part(landing, "market_snapshots")
    good, date = broken.read_bytes(), broken.parent.name
    day = home / "warehouse" / "days" / date
    live = (day / "_manifest.json").read_bytes()
    for spoil, words in SPOILT.items():
        spoil(broken)
        code, out, err = crossimpact("refit", landing, "--home", home, "--json")
        assert code == BLOCKED
        assert "market_snapshots" in one_line(err) and words in one_line(err)
        report = json.loads(out)
        assert (report["exit_code"], report["verdict"]) == (BLOCKED, "blocked")
        assert not (home / "mlflow").exists() and not list(home.glob("refits/*/release"))
        assert (day / "_manifest.json").read_bytes() == live and words in str(report["stale"])
        broken.write_bytes(good)
    code, out, _ = crossimpact("validate", landing, "--home", home, "--json")
    assert code == OK and json.loads(out)["verdict"] == "ok"
    assert (day / "_manifest.json").read_bytes() == live and not json.loads(out)["stale"]


def test_a_desk_without_stress_is_answered_by_the_fallback(
    crossimpact, landing, fresh_home, tmp_path
):
    home = fresh_home
    code, out, _ = crossimpact("refit", landing, "--home", home, "--json")
    found = json.loads(out)
    assert code == OK
    assert set(found["stages"]) == {"validate", "features", "moments", "decay", "fit", "register"}
    drawn = {path.name for path in home.glob("mlflow/artifacts/*/artifacts/*.png")}
    coupled = found["regimes"]["normal"]["edges"] > 0
    assert ("calibration-normal.png" in drawn) == ("network-normal.png" in drawn) == coupled
    assert "gamma-normal.png" in drawn
    stressed = found["regimes"]["stressed"]
    assert stressed["rung"] == "fixed_pov" and "0 stressed buckets" in stressed["reason"]
    assert found["regimes"]["normal"]["buckets"] == 156
    for table, rows in found["contract"]["tables"].items():
        assert rows["landed"] == rows["accepted"] + rows["quarantined"] > 0, table
    code, _, err = crossimpact("tca", landing, "--home", home)
    assert code == STALE and "promote" in one_line(err)
    assert crossimpact("promote", "--home", home)[0] == OK
    again = json.loads(crossimpact("refit", landing, "--home", home, "--json")[1])
    assert again["digest"] == found["digest"] and again["version"] == found["version"]
    code, out, _ = crossimpact("tca", landing, "--home", home, "--json")
    assert code == OK and json.loads(out)["release_id"] == found["release"]
    code, out, _ = crossimpact("export", "regimes", tmp_path / "r.csv", "--home", home, "--json")
    assert code == OK and json.loads(out)["rows"] == 156
    assert (tmp_path / "r.csv").read_text().splitlines()[0] == "ts,regime"
    code, out, _ = crossimpact("export", "self", tmp_path / "s.csv", "--home", home, "--json")
    assert code == OK and json.loads(out)["rows"] == 4
    assert crossimpact("ledger", "verify", "--home", home)[0] == OK


def test_one_symbol_only(crossimpact, fresh_home, tmp_path):
    simulate.run(None, tmp_path, DeskSpec(symbols=1, days=2, stressed=False))
    code, out, _ = crossimpact("refit", tmp_path / "landing", "--home", fresh_home, "--json")
    normal = json.loads(out)["regimes"]["normal"]
    assert code == OK
    assert (normal["rung"], normal["edges"]) == ("self_only", 0)
    assert not [name for name, value in normal.items() if value in ("nan", "inf", "-inf")]


@pytest.mark.parametrize("words", [("show",), ("promote",), ("rollback",)])
def test_nothing_was_ever_promoted(crossimpact, tmp_path, words):
    code, _, err = crossimpact(*words, "--home", tmp_path)
    assert code == STALE
    assert one_line(err)


@pytest.mark.parametrize(
    "words",
    [
        ("refit", "{landing}", "--bucket", "7min"),
        ("refit", "{landing}", "--bucket", "soon"),
        ("refit", "{landing}", "--as-of", "yesterday"),
        ("refit", "{landing}", "--as-of", "1999-01-01"),
        ("validate", "{landing}", "--date", "1999-01-01"),
        ("ingest", "nasdaq", "{landing}", "{landing}/out"),
        ("ingest", "table", "{landing}/no-map.toml", "{landing}", "{landing}/out"),
        ("show", "--as-of", "lately"),
        ("promote", "--override"),
        ("export", "regimes", "{landing}/r.csv"),
        ("export", "violations", "{landing}"),
        ("tca", "{landing}/child_fills"),
        ("nonsense",),
    ],
)
def test_wrong_words_are_a_usage_error(crossimpact, clean, tmp_path, words):
    named = [word.format(landing=clean) for word in words]
    home = () if words == ("nonsense",) else ("--home", tmp_path)
    code, _, err = crossimpact(*named, *home)
    assert code == USAGE and err.strip()


def test_a_fit_of_other_data_never_ships(landing, validated):
    """Features that change between a regime's fit and the release are noticed."""
    settings = Settings(validated)
    steps = refit.plan(settings, landing)
    zone = Landing(landing)
    features.prepare(settings, zone, steps.dates)
    moments.prepare(settings, steps.dates)
    for regime in ("normal", "stressed"):
        refit.fit(settings, steps, regime)
    instruments = part(landing, "instruments")
    table = pq.ParquetFile(instruments).read()
    at = table.column_names.index("adv_notional")
    doubled = pa.array([2 * adv for adv in table["adv_notional"].to_pylist()])
    pq.write_table(table.set_column(at, "adv_notional", doubled), instruments)
    features.prepare(settings, zone, steps.dates)
    with pytest.raises(CrossImpactError, match="features changed after a regime was fitted"):
        refit.assemble(settings, steps)
    assert not (settings.home / "mlflow").exists()


def test_a_window_has_one_release_whatever_the_home_did_before(
    crossimpact, landing, fresh_home, refitted, tmp_path
):
    used_before = shutil.copytree(refitted, tmp_path / "used")
    assert len(list(used_before.glob("refits/*/release"))) == 1
    words = ("refit", landing, "--window-days", 1, "--json", "--home")
    fresh = json.loads(crossimpact(*words, fresh_home)[1])
    used = json.loads(crossimpact(*words, used_before)[1])
    assert used["digest"] == fresh["digest"]


def test_own_flow_of_a_public_landing_is_refused(crossimpact, landing, tmp_path):
    for table in ("parent_orders", "child_fills", "benchmark_marks"):
        shutil.rmtree(landing / table)
    code, _, err = crossimpact("refit", landing, "--flow", "own", "--home", tmp_path / "h")
    assert code == USAGE and "--flow public" in one_line(err)
    code, out, _ = crossimpact("refit", landing, "--home", tmp_path / "h", "--json")
    assert code == OK and json.loads(out)["flow"] == "public"


def test_a_landing_without_any_flow_says_what_to_land(crossimpact, landing, tmp_path):
    for table in ("parent_orders", "child_fills", "benchmark_marks", "public_trades"):
        shutil.rmtree(landing / table)
    code, _, err = crossimpact("refit", landing, "--home", tmp_path / "h")
    assert code == USAGE and "land parent_orders or public_trades" in one_line(err)
    assert not (tmp_path / "h" / "warehouse").exists()
