"""What each rule of the contract says, as a digest; a verdict names those it was made by.

A rule is its declaration, its query and the numbers that query is given; its words are not. The
code that asks the rules has a digest of its own, blind to comments and docstrings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from functools import cache
from typing import Any

from crossimpact import contract
from pipelines.store import provenance
from pipelines.store.provenance import bare_sql, sources
from pipelines.store.warehouse import text_sha256

#: Where queries lie that judge nothing.
OTHER_QUERIES = ("audit", "features", "ingest", "marts", "validate")
#: Modules of which no verdict depends, or (the contract) rule by rule.
NO_JUDGES = ("crossimpact", "pipelines.store", "sql/checks/")
#: But for these, which read and ask.
JUDGES = (
    "crossimpact.row_checks",
    "pipelines.store.land",
    "pipelines.validate",
    "pipelines.partitions",
)
LENGTH = 16  # hex digits of a rule's digest


def inputs() -> dict[str, str]:
    """What a verdict depends on besides the landed files."""
    return {"rules": text_sha256(*(text for pair in digests().items() for text in pair)),
            "judge": judge()}  # fmt: skip


@cache
def digests() -> dict[str, str]:
    """Digest of every rule, by `<table>.<rule>` (`*.<rule>` where it is every table's)."""
    said = dict(sorted(_declared()))
    return {
        name: text_sha256(json.dumps(what, default=str))[:LENGTH] for name, what in said.items()
    }


@cache
def judge() -> str:
    """Digest of the code that reads landed files and asks the rules, and of its libraries."""
    code = _sources("pipelines.split").without(*NO_JUDGES)
    every = _sources("pipelines.split", "pipelines.validate").texts
    code.texts.update({name: text for name, text in every.items() if name.startswith(JUDGES)})
    return code.meaning


def _sources(*modules: str) -> provenance.Sources:
    return sources(*modules, places=provenance.SOURCES, queries=provenance.SQL_DIR)


def _declared() -> Iterator[tuple[str, Any]]:
    for table in contract.TABLES.values():
        yield from ((f"{table.name}.{name}", what) for name, what in _table_rules(table))
    for rule in _listed():
        yield (
            f"{getattr(rule, 'table', '*')}.{rule.id}",
            [_without_words(rule), *_query(getattr(rule, "query", "") or rule.id)],
        )
    for name, value in sorted(vars(contract).items()):
        if name.isupper() and isinstance(value, int | float):
            yield f"*.{name.lower()}", value


def _table_rules(table: contract.Table) -> Iterator[tuple[str, Any]]:
    for column in table.columns:
        said = _without_words(column)
        yield f"{column.name}.type", [said.pop("type"), said.pop("nullable")]
        yield f"{column.name}.bounds", said
    yield contract.UNIQUE_KEY, table.key
    yield contract.DATE_IN_PARTITION, table.clock
    yield contract.ROW_COUNT, [table.optional, table.eventful]
    for rule in table.row_rules:
        yield rule.id, _without_words(rule)


def _listed() -> Iterator[Any]:
    """Rules the contract lists beside its tables, whatever their kind."""
    for value in vars(contract).values():
        if isinstance(value, tuple) and value and is_dataclass(value[0]):
            yield from (rule for rule in value if hasattr(rule, "id"))


def _without_words(rule: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(rule).items() if name not in ("doc", "owner")}


def _query(rule: str) -> list[Any]:
    """The rule's query and the parameters it is given."""
    from pipelines.violations import PARAMETERS

    paths = sorted(provenance.SQL_DIR.glob(f"*/{rule}.sql"))
    text = " ".join(bare_sql(p.read_text()) for p in paths if p.parent.name not in OTHER_QUERIES)
    names = sorted({*re.findall(r"\$(\w+)", text)} & {*PARAMETERS})
    return [text, {name: PARAMETERS[name] for name in names}]
