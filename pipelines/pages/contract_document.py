"""The contract as a document others read: YAML in the shape of the Open Data Contract Standard 3.

It is written from the declaration; each version that was ever in force is kept as it was, beside
the ledger that names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crossimpact import contract
from crossimpact.contract import Column, Table
from crossimpact.errors import UsageError

VERSIONS = Path(__file__).parents[1] / "audit" / "contract_versions"
LOGICAL = {"str": "string", "f64": "number", "i64": "integer", "ts": "timestamp"}
#: Who answers for the contract, and what each version changed.
OWNERS = (("execution-research", "owner"), ("trading desk", "producer"))
CHANGES: Mapping[str, str] = {
    "1": "the first version",
    "2": "ids are opaque; quantities may be fractional; an execution is identified by fill_id and "
    "venue; peer_flow is optional; columns that may be null may be absent",
}
Data = dict[str, Any]


def document(version: str | None = None) -> str:
    """The document of a version, the current one by default.

    Raises
    ------
    UsageError
        When there is no such version.
    """
    if version in (None, contract.VERSION):
        return written(contract)
    path = VERSIONS / f"{version}.yaml"
    if not path.is_file():
        known = ", ".join(sorted({*(p.stem for p in VERSIONS.glob("*.yaml")), contract.VERSION}))
        raise UsageError(f"the contract has no version {version}", f"known are {known}")
    return path.read_text(encoding="utf-8")


def difference(before: str, after: str) -> list[dict[str, str]]:
    """What two versions say differently, a field each: of a table, a column or a rule."""
    import yaml  # comes with Airflow

    old, new = (dict(_said(yaml.safe_load(document(version)))) for version in (before, after))
    return [
        {"table": key[0], "what": key[1], "field": key[2],
         "from": old.get(key, "-"), "to": new.get(key, "-")}
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]  # fmt: skip


def written(declared: Any) -> str:
    """The document of a declaration: a module with `VERSION`, `TABLES` and `CROSS_RULES`."""
    import yaml

    style = {"sort_keys": False, "allow_unicode": True, "width": 100, "default_flow_style": False}
    return str(yaml.safe_dump(_contract(declared), **style))


def _contract(declared: Any) -> Data:
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "crossimpact-calibration-data",
        "name": "Calibration data",
        "version": declared.VERSION,
        "status": "active",
        "domain": "execution",
        "description": {
            "purpose": "what a desk lands, and what is checked before a number is fitted",
            "usage": "<landing>/<table>/date=YYYY-MM-DD/*.parquet (or CSV with the same header)",
            "limitations": "times are UTC, prices in the quote currency, notionals in USD",
        },
        "schema": [_table(declared, table) for table in declared.TABLES.values()],
        "team": [{"username": name, "role": role} for name, role in OWNERS],
        "customProperties": [
            {
                "property": "changeLog",
                "value": [f"{v}: {text}" for v, text in CHANGES.items() if v <= declared.VERSION],
            }
        ],
    }


def _table(declared: Any, table: Table) -> Data:
    rules = [
        {
            "name": r.id,
            "description": r.doc,
            "type": "sql",
            "query": f"SELECT count(*) FROM {table.name} WHERE NOT ({r.sql})",
            "mustBe": 0,
            "severity": getattr(r, "severity", "quarantine"),
        }
        for r in table.row_rules
    ]
    rules += [
        {"name": r.id, "description": r.doc, "type": "custom", "engine": "crossimpact",
         "implementation": f"sql/checks/{getattr(r, 'query', '') or r.id}.sql",
         "severity": r.severity}
        for r in _listed(declared)
        if r.table == table.name
    ]  # fmt: skip
    return {
        "name": table.name,
        "logicalType": "object",
        "physicalType": "table",
        "description": f"one row is {table.grain}",
        "customProperties": [{"property": "optional", "value": table.optional}],
        "properties": [_column(column, table) for column in table.columns],
        **({"quality": rules} if rules else {}),
    }


def _listed(declared: Any) -> Iterator[Any]:
    """Rules beside the tables: those across rows, and of days."""
    for name in ("CROSS_RULES", "DAY_RULES", "FEED_RULES"):
        yield from getattr(declared, name, ())


def _column(column: Column, table: Table) -> Data:
    bounds = {
        "exclusiveMinimum": column.above,
        "minimum": column.at_least,
        "maximum": column.at_most,
        "pattern": column.pattern,
    }
    options = {name: value for name, value in bounds.items() if value is not None}
    place = dict(zip(table.key, range(1, len(table.key) + 1), strict=True)).get(column.name)
    key = {"primaryKey": True, "primaryKeyPosition": place} if place else {}
    allowed = [{"property": "allowedValues", "value": list(column.values or ())}]
    return {
        "name": column.name,
        "logicalType": LOGICAL[column.type],
        "physicalType": contract.SQL_TYPE[column.type],
        "description": column.doc,
        "required": not column.nullable,
        **key,
        **({"logicalTypeOptions": options} if options else {}),
        **({"customProperties": allowed} if column.values else {}),
    }


def _said(plain: Data) -> Iterator[tuple[tuple[str, str, str], str]]:
    """(table, what, field) -> what is said of it."""
    for table in plain["schema"]:
        for own in table.get("customProperties", ()):
            yield (table["name"], "table", own["property"]), str(own["value"])
        for kind, name in (("properties", "column"), ("quality", "rule")):
            for item in table.get(kind, ()):
                for field, value in _fields(item):
                    yield (table["name"], f"{name} {item['name']}", field), value


def _fields(item: Data) -> Iterator[tuple[str, str]]:
    for name, value in item.items():
        if isinstance(value, dict):
            yield from _fields(value)
        elif name == "customProperties":
            yield from ((own["property"], str(own["value"])) for own in value)
        elif name not in ("name", "description"):
            yield name, str(value)
