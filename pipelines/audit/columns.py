"""The columns of a ledger entry, and of the rows in it that break a rule."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

TEXT = pa.string()
#: A row and a rule it breaks; what a judge does not tell is null. A column added here is kept.
VIOLATION = {
    "table": TEXT, "rule": TEXT, "severity": TEXT, "cascade": pa.bool_(), "key": TEXT,
    "symbol": TEXT, "venue": TEXT, "column": TEXT, "value": TEXT, "file": TEXT, "row": pa.int64(),
}  # fmt: skip
#: Names of before.
RENAMED = {"rule_id": "rule"}


def _list(**fields: pa.DataType) -> pa.DataType:
    return pa.list_(pa.struct(list(fields.items())))


ENTRY = pa.schema(
    [
        ("seq", pa.int32()),
        ("prev", TEXT),
        ("run", TEXT),
        ("moment", pa.timestamp("us", tz="UTC")),
        ("who", TEXT),
        ("date", TEXT),
        ("kind", TEXT),
        ("verdict", TEXT),
        ("landing", TEXT),
        ("contract_version", TEXT),
        ("code_version", TEXT),
        ("judge", TEXT),
        ("rules", _list(rule=TEXT, digest=TEXT)),
        ("waivers", pa.list_(TEXT)),
        ("manifest", TEXT),
        ("origin", TEXT),
        ("files", _list(table=TEXT, path=TEXT, size=pa.int64(), sha256=TEXT, rows=pa.int64(),
                        mtime=pa.float64())),
        ("counts", _list(table=TEXT, landed=pa.int64(), accepted=pa.int64(),
                         quarantined=pa.int64())),
        ("broken", _list(table=TEXT, rule=TEXT, rows=pa.int64())),
        ("problems", _list(table=TEXT, date=TEXT, column=TEXT, rule=TEXT, text=TEXT)),
        ("findings", TEXT),
        ("partitions", _list(layer=TEXT, table=TEXT, file=TEXT, rows=pa.int64(), sha256=TEXT)),
        ("violations", _list(**VIOLATION)),
    ]
)  # fmt: skip
#: Columns that tell one saying of the same from another.
WHEN = ("seq", "prev", "run", "moment", "who", "violations")


def violations(found: pa.Table, table: str, date: str) -> pa.Table:
    """A judge's broken rows of a table in these columns, files by their path below the landing."""
    found = found.rename_columns([RENAMED.get(name, name) for name in found.column_names])
    columns = [
        found[name].cast(kind) if name in found.column_names else pa.nulls(len(found), kind)
        for name, kind in VIOLATION.items()
    ]
    made = pa.table(columns, names=list(VIOLATION))
    made = made.set_column(0, "table", pa.array([table] * len(made), TEXT))
    at = list(VIOLATION).index("file")
    return made.set_column(at, "file", _paths(made["file"], f"{table}/date={date}/"))


def _paths(files: pa.ChunkedArray, folder: str) -> pa.ChunkedArray:
    """A bare name is one of the partition."""
    bare = pc.invert(pc.match_substring(files, "/"))
    return pc.if_else(bare, pc.binary_join_element_wise(folder, files, ""), files)
