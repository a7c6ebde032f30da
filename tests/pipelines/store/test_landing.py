"""The landing zone: what is there, and what cannot be read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact import contract
from crossimpact.errors import ContractViolation, UsageError
from pipelines.store.landed import accepts, attach
from pipelines.store.landing import Landing
from tests.pipelines import desk

FILLS = contract.TABLES["child_fills"]


def read(root: Path, table: contract.Table = FILLS) -> list[dict[str, object]]:
    """Rows of the table's one partition as the reader sees them; times as text."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        reading = attach(connection, Landing(root), table, desk.DATE)
        assert not reading.problems, reading.problems
        times = [f"CAST({c.name} AS VARCHAR) AS {c.name}" for c in table.columns if c.type == "ts"]
        replaced = f"REPLACE ({', '.join(times)})" if times else ""
        rows = connection.sql(f"SELECT * {replaced} FROM {table.name} ORDER BY file, row")
        return rows.to_arrow_table().to_pylist()


def problems(root: Path, table: contract.Table = FILLS) -> set[tuple[str, str]]:
    with duckdb.connect() as connection:
        found = attach(connection, Landing(root), table, desk.DATE).problems
        assert (
            found and not connection.sql("SHOW TABLES").filter(f"name = '{table.name}'").fetchall()
        )
        return {(problem.column, problem.rule) for problem in found}


def notes(root: Path, table: contract.Table = FILLS) -> set[tuple[str, str]]:
    """(column, rule) of the casts that were made without loss."""
    with duckdb.connect() as connection:
        return {
            (note.column, note.rule)
            for note in attach(connection, Landing(root), table, desk.DATE).notes
        }


def test_a_missing_folder_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="missing"):
        Landing(tmp_path / "nowhere")


def test_a_folder_that_is_no_date_is_named(tmp_path: Path) -> None:
    (tmp_path / "child_fills" / "date=2024-02-30").mkdir(parents=True)
    with pytest.raises(ContractViolation, match="2024-02-30"):
        Landing(tmp_path).dates("child_fills")


def test_tables_dates_and_files(tmp_path: Path) -> None:
    tables = desk.clean()
    desk.write(tmp_path, {"child_fills": tables["child_fills"]}, "2024-01-04")
    desk.write(tmp_path, {"peer_flow": tables["peer_flow"]}, "2024-01-03")
    (tmp_path / "child_fills/date=2024-01-04/_SUCCESS").touch()
    (tmp_path / "child_fills/date=2024-01-04/.part.parquet").touch()
    landing = Landing(tmp_path)
    assert landing.tables() == ["child_fills", "peer_flow"]
    assert landing.all_dates() == ["2024-01-03", "2024-01-04"]
    assert [p.name for p in landing.files("child_fills", "2024-01-04")] == ["part-0.parquet"]
    assert not landing.has_parents
    assert "parent_orders" in landing.demanded()  # fills without orders are a broken desk


def test_public_data_alone_demand_no_desk(tmp_path: Path) -> None:
    tables = desk.clean()
    desk.write(tmp_path, {t: r for t, r in tables.items() if t not in contract.DESK_TABLES})
    assert Landing(tmp_path).demanded() == [
        "instruments", "market_snapshots", "peer_flow", "public_trades",
    ]  # fmt: skip


def test_an_optional_table_is_demanded_once_it_is_landed_on_any_date(tmp_path: Path) -> None:
    tables = desk.clean()
    desk.write(
        tmp_path, {t: r for t, r in tables.items() if t not in ("peer_flow", "public_trades")}
    )
    assert Landing(tmp_path).demanded() == [
        name for name, table in contract.TABLES.items() if not table.optional
    ]
    desk.write(tmp_path, {"peer_flow": tables["peer_flow"]}, "2024-01-04")
    assert "peer_flow" in Landing(tmp_path).demanded()


def test_the_digest_sees_bytes_and_names(tmp_path: Path) -> None:
    rows = desk.clean()["peer_flow"]
    digests = []
    for name, cut in (("a.parquet", 0), ("b.parquet", 0), ("a.parquet", 1)):
        root = desk.write(tmp_path / f"{name}{cut}", {"peer_flow": rows[cut:]}, name=name)
        digests.append(Landing(root).digest("peer_flow", desk.DATE))
    assert len(set(digests)) == 3


def test_csv_reads_as_the_same_rows_as_parquet(tmp_path: Path) -> None:
    rows = desk.clean()["child_fills"]
    rows[0]["symbol"], rows[1]["symbol"] = "TRUE", "NA"
    desk.write(tmp_path / "parquet", {"child_fills": rows})
    desk.write_csv(tmp_path / "csv", "child_fills", rows)
    from_csv = [row | {"file": ""} for row in read(tmp_path / "csv")]
    assert from_csv == [row | {"file": ""} for row in read(tmp_path / "parquet")]
    assert [row["symbol"] for row in from_csv[:2]] == ["TRUE", "NA"]


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("fill_qty", "many"),
        ("fill_px", "TRUE"),
        ("fill_ts", "2024-01-03 14:31:00"),
        ("fill_ts", "yesterday"),
    ],
)
def test_a_csv_cell_that_does_not_cast_keeps_its_text(
    tmp_path: Path, column: str, text: str
) -> None:
    rows = desk.clean()["child_fills"][:3]
    path = desk.write_csv(tmp_path, "child_fills", rows)
    lines = path.read_text().splitlines()
    cells = lines[2].split(",")
    cells[FILLS.column_names.index(column)] = text
    path.write_text("\n".join([*lines[:2], ",".join(cells), *lines[3:]]))
    landed = read(tmp_path)
    assert [row["uncast"] is not None for row in landed] == [False, True, False]
    assert landed[1][column] is None
    assert f'"{column}":"{text}"' in str(landed[1]["uncast"])


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_column_that_may_be_null_may_be_absent(tmp_path: Path, kind: str) -> None:
    table = contract.TABLES["parent_orders"]
    optional = [c.name for c in table.columns if c.nullable]
    assert optional == ["basket_id", "alpha_bps"] and FILLS.columns[-1].nullable
    data = pa.Table.from_pylist(desk.clean()[table.name], schema=desk.schema(table.name))
    path = desk.folder(tmp_path, table.name) / f"part-0.{kind}"
    writer = pq.write_table if kind == "parquet" else pa.csv.write_csv
    writer(data.drop_columns(optional), path)
    desk.write(tmp_path / "whole", {table.name: desk.clean()[table.name]})
    narrow, whole = read(tmp_path, table), read(tmp_path / "whole", table)
    assert [row | {"file": ""} for row in narrow] == [row | {"file": ""} for row in whole]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_quantities_are_whole_or_fractional_without_loss(tmp_path: Path, kind: str) -> None:
    quantities = [1.0, 999_999_999_999_999.0, 0.00000001, 0.1, 2.5]
    whole = [int(q) for q in quantities if q == int(q)]
    rows = desk.clean()["child_fills"][: len(quantities)]
    for row, quantity in zip(rows, quantities, strict=True):
        row["fill_qty"] = quantity
    data = pa.Table.from_pylist(rows, schema=desk.schema("child_fills"))
    writer = pq.write_table if kind == "parquet" else pa.csv.write_csv
    writer(data, desk.folder(tmp_path / "v2", "child_fills") / f"part-0.{kind}")
    assert [row["fill_qty"] for row in read(tmp_path / "v2")] == quantities
    at = data.schema.get_field_index("fill_qty")  # as version 1 lands them: 64-bit integers
    data = data.take(pa.array([0, 1])).set_column(at, "fill_qty", pa.array(whole, pa.int64()))
    writer(data, desk.folder(tmp_path / "v1", "child_fills") / f"part-0.{kind}")
    assert [row["fill_qty"] for row in read(tmp_path / "v1")] == whole


def test_rows_are_numbered_within_each_file(tmp_path: Path) -> None:
    rows = desk.clean()["child_fills"]
    desk.write(tmp_path, {"child_fills": rows[:2]}, name="b.parquet")
    desk.write(tmp_path, {"child_fills": rows[2:5]}, name="a.parquet")
    folder = f"child_fills/date={desk.DATE}"
    places = [(row["file"], row["row"], row["fill_id"]) for row in read(tmp_path)]
    assert places == [
        *((f"{folder}/a.parquet", i, f"f{i + 2}") for i in range(3)),
        *((f"{folder}/b.parquet", i, f"f{i}") for i in range(2)),
    ]


def test_harmless_widenings_and_a_hive_column_pass(tmp_path: Path) -> None:
    data = pa.Table.from_pylist(desk.clean()["child_fills"], schema=desk.schema("child_fills"))
    wide = data.cast(
        pa.schema(
            [
                ("fill_id", pa.large_string()),
                ("order_id", pa.string()),
                ("symbol", pa.dictionary(pa.int32(), pa.string())),
                ("side", pa.string()),
                ("fill_ts", pa.timestamp("ns", tz="UTC")),
                ("fill_px", pa.float32()),
                ("fill_qty", pa.int32()),
                ("venue", pa.string()),
                ("liquidity", pa.string()),
                ("fee", pa.float64()),
            ]
        )
    ).append_column("date", pa.array([desk.DATE] * data.num_rows))
    pq.write_table(wide, desk.folder(tmp_path, "child_fills") / "part-0.parquet")
    desk.write(tmp_path / "narrow", {"child_fills": desk.clean()["child_fills"]})
    widened, plain = read(tmp_path), read(tmp_path / "narrow")
    for row in (*widened, *plain):
        row["fill_px"] = round(float(str(row["fill_px"])), 4)
    assert widened == plain


@pytest.mark.parametrize(
    ("type_", "landed"),
    [
        ("ts", pa.timestamp("us")),
        ("ts", pa.int64()),
        ("f64", pa.string()),
        ("f64", pa.bool_()),
        ("i64", pa.bool_()),
        ("ts", pa.date32()),
        ("str", pa.int64()),
    ],
)
def test_types_that_mean_something_else_do_not_pass(
    type_: contract.Type, landed: pa.DataType
) -> None:
    assert not accepts(type_, landed)


@pytest.mark.parametrize(
    ("table", "column", "kind"),
    [
        ("child_fills", "fill_ts", pa.timestamp("us", tz="America/New_York")),
        ("child_fills", "fill_ts", pa.timestamp("ms", tz="UTC")),
        ("child_fills", "fill_px", pa.decimal128(18, 6)),
        ("public_trades", "aggressor_side", pa.float64()),
    ],
)
def test_a_cast_that_loses_nothing_is_made_and_noted(
    tmp_path: Path, table: str, column: str, kind: pa.DataType
) -> None:
    rows, declared = desk.clean()[table], contract.TABLES[table]
    data = pa.Table.from_pylist(rows, schema=desk.schema(table))
    at = data.schema.get_field_index(column)
    cast = data.set_column(at, column, data[column].cast(kind))
    desk.write(tmp_path / "plain", {table: rows})
    pq.write_table(cast, desk.folder(tmp_path / "other", table) / "part-0.parquet")
    assert read(tmp_path / "other", declared) == read(tmp_path / "plain", declared)
    assert notes(tmp_path / "other", declared) == {(column, contract.COERCED)}
    assert notes(tmp_path / "plain", declared) == set()


def test_half_a_side_is_the_rows_own_fault(tmp_path: Path) -> None:
    table = contract.TABLES["public_trades"]
    data = pa.Table.from_pylist(desk.clean()[table.name][:3], schema=desk.schema(table.name))
    at = data.schema.get_field_index("aggressor_side")
    data = data.set_column(at, "aggressor_side", pa.array([1.0, 0.5, -1.0]))
    pq.write_table(data, desk.folder(tmp_path, table.name) / "part-0.parquet")
    rows = read(tmp_path, table)
    assert [row["aggressor_side"] for row in rows] == [1, None, -1]
    assert [row["lost"] for row in rows] == [None, "aggressor_side", None]


def test_times_of_another_zone_in_a_csv_are_read_and_noted(tmp_path: Path) -> None:
    rows = desk.clean()["child_fills"][:2]
    path = desk.write_csv(tmp_path, "child_fills", rows)
    text = path.read_text()
    path.write_text(text.replace("2024-01-03 14:31", "2024-01-03 10:31").replace("Z,", "-04:00,"))
    assert [str(row["fill_ts"])[:16] for row in read(tmp_path)] == ["2024-01-03 14:31"] * 2
    assert ("fill_ts", contract.COERCED) in notes(tmp_path)


@pytest.mark.parametrize(
    ("name", "told"),
    [("Venue", "lower case"), ("venu", "renamed to 'venu'"), ("exchange", "renamed to 'exchange'")],
)
def test_a_renamed_column_is_guessed(tmp_path: Path, name: str, told: str) -> None:
    data = pa.Table.from_pylist(desk.clean()["child_fills"], schema=desk.schema("child_fills"))
    names = [name if column == "venue" else column for column in data.column_names]
    pq.write_table(
        data.rename_columns(names), desk.folder(tmp_path, "child_fills") / "part-0.parquet"
    )
    with duckdb.connect() as connection:
        found = attach(connection, Landing(tmp_path), FILLS, desk.DATE).problems
    (problem,) = [p for p in found if p.column == "venue"]
    assert told in problem.text


def test_what_nobody_reads_is_listed(tmp_path: Path) -> None:
    desk.write(tmp_path, {"child_fills": desk.clean()["child_fills"]})
    places = [
        "notes.txt",
        "child_fills/part-0.parquet",
        f"child_fills/dt={desk.DATE}/part-0.parquet",
        f"child_fills/date={desk.DATE}/_part-1.parquet",
        f"child_fills/date={desk.DATE}/fills.csv.gz",
        "child_fills_corrections/date=2024-01-03/part-0.parquet",
    ]
    for place in (*places, "_SUCCESS", f"child_fills/date={desk.DATE}/_SUCCESS", "calendar.toml"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("")
    assert Landing(tmp_path).unread() == [
        "child_fills/date=2024-01-03/_part-1.parquet",
        "child_fills/date=2024-01-03/fills.csv.gz",
        "child_fills/dt=2024-01-03/",
        "child_fills/part-0.parquet",
        "child_fills_corrections/",
        "notes.txt",
    ]


def test_a_producers_manifest_is_held_to(tmp_path: Path) -> None:
    desk.write(tmp_path, {"child_fills": desk.clean()["child_fills"]})
    landing, folder = Landing(tmp_path), desk.folder(tmp_path, "child_fills")
    digest = hashlib.sha256((folder / "part-0.parquet").read_bytes()).hexdigest()

    def told(manifest: object) -> tuple[list[str], int | None]:
        (folder / "_manifest.json").write_text(json.dumps(manifest))
        broken = landing.broken_promises("child_fills", desk.DATE)
        return list(broken), landing.promised_rows("child_fills", desk.DATE)

    before = landing.digest("child_fills", desk.DATE)
    assert told({"rows": 120, "sha256": digest}) == ([], 120)
    assert landing.digest("child_fills", desk.DATE) != before
    assert told({"files": {"part-0.parquet": {"rows": 120, "sha256": digest}}}) == ([], 120)
    assert "sha256" in told({"sha256": "0" * 64})[0][0]
    assert "promised" in told({"files": {"part-1.parquet": {"rows": 3}}})[0][0]
    assert told([1])[0] and told([1])[1] is None


def test_wrong_type_missing_and_extra_column_are_each_named(tmp_path: Path) -> None:
    data = pa.Table.from_pylist(desk.clean()["child_fills"], schema=desk.schema("child_fills"))
    data = data.drop_columns(["venue"]).append_column("note", pa.nulls(data.num_rows))
    at = data.schema.get_field_index("fill_px")
    data = data.set_column(at, "fill_px", data["fill_px"].cast(pa.string()))
    pq.write_table(data, desk.folder(tmp_path, "child_fills") / "part-0.parquet")
    assert problems(tmp_path) == {
        ("venue", contract.COLUMN_SET),
        ("note", contract.COLUMN_SET),
        ("fill_px", contract.COLUMN_TYPE),
    }


def test_a_parquet_file_without_columns_names_every_one_that_is_missing(tmp_path: Path) -> None:
    empty = pa.table({"dropped": [1]}).drop_columns(["dropped"])
    pq.write_table(empty, desk.folder(tmp_path, "child_fills") / "part-0.parquet")
    wanted = {c.name for c in FILLS.columns if not c.nullable}
    assert problems(tmp_path) == {(name, contract.COLUMN_SET) for name in wanted}


@given(cut=st.integers(min_value=0, max_value=5_000))
@settings(deadline=None)
def test_no_prefix_of_a_parquet_file_is_read(tmp_path_factory, cut: int) -> None:
    root = tmp_path_factory.mktemp("half")
    desk.write(root, {"child_fills": desk.clean()["child_fills"]})
    path = root / "child_fills" / f"date={desk.DATE}" / "part-0.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: min(cut, len(content) - 1)])
    assert problems(root) == {("", contract.UNREADABLE)}


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"fill_id,order_id\n"])
def test_a_csv_without_a_sound_header_is_a_problem(tmp_path: Path, content: bytes) -> None:
    (desk.folder(tmp_path, "child_fills") / "part-0.csv").write_bytes(content)
    assert {rule for _, rule in problems(tmp_path)} <= {contract.UNREADABLE, contract.COLUMN_SET}


def test_a_csv_with_a_ragged_line_is_unreadable(tmp_path: Path) -> None:
    path = desk.write_csv(tmp_path, "child_fills", desk.clean()["child_fills"])
    path.write_bytes(path.read_bytes()[:-40])
    assert problems(tmp_path) == {("", contract.UNREADABLE)}


@pytest.mark.parametrize("name", ["a?b", "a*b", "a[x]b"])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_zone_whose_name_is_a_pattern_is_read_and_no_other(
    tmp_path: Path, name: str, suffix: str
) -> None:
    for folder, ids in ((name, "mine"), ("axb", "other"), ("a-b", "another")):
        row = desk.clean()["child_fills"][0] | {"fill_id": ids}
        path = desk.write(tmp_path / folder, {"child_fills": [row]})
        if suffix == "csv":
            (parquet,) = path.rglob("*.parquet")
            pyarrow.csv.write_csv(pq.ParquetFile(parquet).read(), parquet.with_suffix(".csv"))
            parquet.unlink()
    assert [row["fill_id"] for row in read(tmp_path / name)] == ["mine"]
