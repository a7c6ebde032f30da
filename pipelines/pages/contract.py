"""The data contract as a page, generated from its one declaration (`docs/contract.md`)."""

from __future__ import annotations

from crossimpact import contract
from crossimpact.contract import Column, Table
from pipelines.pages.markdown import table as table_lines

HEAD = f"""# Calibration data contract, version {contract.VERSION}

<!-- generated: `crossimpact contract > docs/contract.md` -->

What a desk lands, and what is checked before a number is fitted. Files are Parquet (or CSV with
the same header) under `<landing>/<table>/date=YYYY-MM-DD/`. Times are UTC and time-zone aware,
prices in the quote currency, notionals in USD, sizes in shares, whole or fractional. Ids are opaque
text; a column that may be null may also be absent, and an optional table is landed on every date or
on none.

**A broken table blocks** (exit code 3): missing table or partition, unreadable file, other columns
or types, no rows, more than {contract.MAX_DUPLICATE_SHARE:.1%} duplicate keys, more than
{contract.MAX_QUARANTINE_SHARE:.0%} of the rows quarantined over the dates asked.
**A broken row is quarantined** with every rule it broke; a row may also be *warned* about and
accepted. Rows in = rows accepted + rows quarantined, always. Rules between tables look at what was
landed, not at what was accepted, so one broken row does not condemn its neighbours.

A landing zone without `parent_orders`, `child_fills` and `benchmark_marks` is a public one: refits
then read the net aggressor flow of `public_trades`. Without `peer_flow` the models have no controls
for what others traded; verdict, release and model card say so.
"""

VERSIONS = """\
## Versions

Version 2 accepts every landing of version 1 unchanged: whole quantities are read as they were, and
nothing that passed is refused, but for invisible characters in the names of sectors and venues, and
for `public_trades` landed on some of the dates only. New in it:

- ids are any printable text of at most 128 characters (version 1: 64 of `A-Za-z0-9_.:-`);
- `parent_qty`, `fill_qty` and `lot_size` may be fractional. Money is counted exactly on prices of
  10 and quantities of 8 decimals;
- an execution is identified by `fill_id` and `venue` together, within a date;
- `peer_flow` is optional, and columns that may be null may be absent.

Manifests and releases name the version they were made under. A home of version 1 is judged anew at
its next validation; a release of version 1 loads, serves and rolls back as before."""


def markdown() -> str:
    """The whole page."""
    return (
        "\n".join([HEAD, *map(_table, contract.TABLES.values()), *_everywhere(), "", VERSIONS])
        + "\n"
    )


def _table(table: Table) -> str:
    title = f"## {table.name}{' (optional)' if table.optional else ''}"
    grain = f"One row is {table.grain}; key: {', '.join(table.key) or 'none'}."
    columns = table_lines(
        ("column", "type", "meaning", "allowed"),
        ((f"`{c.name}`", c.type, c.doc, _allowed(c)) for c in table.columns),
    )
    rules = [(f"`{r.id}`", "quarantine", r.doc) for r in table.row_rules]
    rules += [
        (f"`{r.id}`", r.severity, r.doc) for r in contract.CROSS_RULES if r.table == table.name
    ]
    more = ["", *table_lines(("rule", "severity", "a good row"), rules)] if rules else []
    return "\n".join([title, "", grain, "", *columns, *more, ""])


def _allowed(column: Column) -> str:
    bounds = [
        f"{sign} {limit:g}"
        for sign, limit in ((">", column.above), (">=", column.at_least), ("<=", column.at_most))
        if limit is not None and abs(limit) < contract.BIG
    ]
    texts = [", ".join(map(str, column.values))] if column.values else []
    texts += [f"`{column.pattern}`"] if column.pattern else []
    numbers = [" and ".join(bounds) or "finite"] if column.type in ("f64", "i64") else []
    nullable = ["may be null"] if column.nullable else []
    return "; ".join(texts + (numbers if not column.values else []) + nullable) or "not null"


def _everywhere() -> list[str]:
    return [
        "## Every table",
        "",
        "Cells: `<column>.not_null`, `<column>.range` (NaN and infinities included), "
        "`<column>.pattern`, `<column>.values`, and `cast` for CSV cells not of their type. "
        f"Rows: `{contract.UNIQUE_KEY}` (the first of equal keys stays) and "
        f"`{contract.DATE_IN_PARTITION}` (within {contract.MAX_HOURS_FROM_NOON} h of noon UTC of "
        "the partition's date).",
    ]
