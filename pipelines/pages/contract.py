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
or types, no rows, files that are not what their manifest says; and, date by date, more duplicate
keys than {contract.CHILD_FILLS.duplicates} of a table, or more faulty rows than
{contract.CHILD_FILLS.quarantined}. A limit is a share and a number: both must be exceeded.
**A broken row is quarantined** with every rule it broke; a row may also be *warned* about and
accepted. Rows in = rows accepted + rows quarantined, always. Rules between tables look at what was
landed, not at what was accepted, so one broken row does not condemn its neighbours; what hangs on a
refused row (*cascade*), and rows that say of themselves that they are no execution or no tradable
book (*state*), leave with it, are told apart and count against no limit.
**A day or a feed that is unlike itself is warned about**, with start, end and names. It is held
against the {contract.TRAILING_DATES} dates landed before it, so a date's verdict is the same
whichever dates are asked.

A landing zone without `parent_orders`, `child_fills` and `benchmark_marks` is a public one: refits
then read the net aggressor flow of `public_trades`. Without `peer_flow` the models have no controls
for what others traded; verdict, release and model card say so.
"""

VERSIONS = f"""\
## Versions

Version 2 reads every landing of version 1 unchanged: whole quantities are read as they were, no
column is demanded that was not. New in it:

- ids are any printable text of at most 128 characters (version 1: 64 of `A-Za-z0-9_.:-`);
- `parent_qty`, `fill_qty` and `lot_size` may be fractional. Money is counted exactly on prices of
  10 and quantities of 8 decimals;
- an execution is identified by `fill_id` and `venue` together, an order by `order_id`, over dates;
- `exec_type` and `ref_fill_id` tell corrections and busts; without them every row is an execution;
- a fill may name a parent of the {contract.PARENT_DATES} dates before, and be stamped
  {contract.MAX_AFTER_END_S} s after its end;
- a locked book is a state, a stub quote a violation; prints may carry `trade_id` and `condition`;
- decisions and marks are held against the mid at their time, prints too;
- a row lies in its date's session, not within 36 hours;
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
        (f"`{r.id}`", _severity(r), r.doc) for r in contract.CROSS_RULES if r.table == table.name
    ]
    days = [
        (f"`{r.id}`", r.severity, r.doc + (f" ({r.window})" if r.window else ""))
        for r in contract.DAY_RULES
        if r.table == table.name
    ]
    more = ["", *table_lines(("rule", "severity", "a good row"), rules)] if rules else []
    more += ["", *table_lines(("rule", "severity", "a good day"), days)] if days else []
    return "\n".join([title, "", grain, "", *columns, *more, ""])


def _severity(rule: contract.CrossRule) -> str:
    kind = " (cascade)" if rule.cascade else " (state)" if rule.state else ""
    limit = f"; blocks above {rule.limit}" if rule.limit else ""
    return f"{rule.severity}{kind}{limit}"


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
        f"Rows: `{contract.UNIQUE_KEY}` (the first of equal keys stays; ids are unique over "
        f"{contract.ID_DATES} dates) and `{contract.DATE_IN_PARTITION}` (within "
        f"{contract.MAX_HOURS_FROM_SESSION} h of the middle of the date's session: that of the "
        "calendar named in `calendar.toml`, else the one the date's books and the dates before it "
        "tell).",
        "",
        "Beside its files a partition may hold `_manifest.json`, which its producer writes: "
        '`{"files": {"part-0.parquet": {"rows": 120, "sha256": "..."}}}`, or `rows` and `sha256` '
        "of its one file. What the landing zone holds that nobody reads is listed in the verdict "
        "(`unread`). A cast that loses nothing (decimals, other time zones, milliseconds, whole "
        f"floats) is made and noted (`{contract.COERCED}`).",
        "",
        "`calendar.toml` in the zone's root names the market, by its code in exchange_calendars or "
        "by its hours:",
        "",
        '    exchange = "XNYS"',
        '    # or: zone = "Asia/Shanghai", hours = [["09:30", "11:30"], ["13:00", "15:00"]]',
        '    # closed = ["2026-11-26"]',
        '    # hours_on = {"2026-11-27" = [["09:30", "13:00"]]}',
    ]
