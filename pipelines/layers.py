"""Queries of the partitions a judged table becomes: accepted, quarantined, violations.

They read the current day's tables, and `found`, `broken_rows` and `rule_facts` of a judgement.
"""

from __future__ import annotations

from crossimpact import contract

#: What is published of a table whose rows break no rule.
NO_QUARANTINE = (
    "SELECT NULL::VARCHAR AS file, NULL::BIGINT AS row, NULL::VARCHAR AS key,"
    " NULL::VARCHAR[] AS rules, NULL::VARCHAR AS record WHERE false"
)
NO_VIOLATIONS = (
    "SELECT NULL::VARCHAR AS file, NULL::BIGINT AS row, NULL::VARCHAR AS key,"
    " NULL::VARCHAR AS rule_id, NULL::VARCHAR AS severity, NULL::BOOLEAN AS cascade,"
    ' NULL::VARCHAR AS symbol, NULL::VARCHAR AS venue, NULL::VARCHAR AS "column",'
    " NULL::VARCHAR AS value WHERE false"
)


def hits(name: str) -> str:
    """The date's rows that break any rule, whole."""
    return (
        f"CREATE OR REPLACE TABLE main.hits AS SELECT * FROM {name} SEMI JOIN"
        f" (SELECT file, row FROM main.found WHERE table_name = '{name}'"
        " AND date = getvariable('day')) USING (file, row)"
    )


def accepted(table: contract.Table, in_order: bool) -> str:
    """Rows by key; a file whose rows lie so already need not be sorted again."""
    columns = ", ".join(table.column_names)
    order = "" if in_order else f" ORDER BY {', '.join((*table.key, 'file', 'row'))}"
    return (
        f"SELECT {columns} FROM {table.name} ANTI JOIN ({_condemned(table)}) USING (file, row)"
        f"{order}"
    )


def quarantined(table: contract.Table) -> str:
    """One line per quarantined row: where, key, rules, and the row as landed (JSON of texts)."""
    return (
        f"SELECT file, row, {_key(table)} AS key, rules, {_record(table)} AS record"
        f" FROM main.hits INNER JOIN ({_condemned(table)}) USING (file, row)"
        " ORDER BY file, row"
    )


def violations(table: contract.Table) -> str:
    """One line per row and rule it breaks, with the cell that breaks it."""
    symbol = (
        "symbol"
        if table.has("symbol")
        else "(SELECT any_value(symbol) FROM orders WHERE orders.order_id = hits.order_id)"
    )
    venue = "venue" if table.has("venue") else "NULL::VARCHAR"
    return (
        f"WITH told AS (SELECT hits.*, {_key(table)} AS key, {symbol} AS symbol_of,"
        f" {venue} AS venue_of, {_record(table)} AS record FROM main.hits)"
        f" SELECT file, row, key, rule_id, severity, cascade, symbol_of AS symbol,"
        f" venue_of AS venue, if(shown = '{contract.LOST}', lost, nullif(shown, '')) AS \"column\","
        f" json_extract_string(record, '$.' || if(shown = '{contract.LOST}', lost, shown)) AS value"
        " FROM told INNER JOIN (SELECT * FROM main.found INNER JOIN rule_facts"
        " USING (table_name, rule_id) WHERE date = getvariable('day')"
        f" AND table_name = '{table.name}') USING (file, row) ORDER BY file, row, rule_id"
    )


def _record(table: contract.Table) -> str:
    cells = ", ".join(f"'{name}': CAST({name} AS VARCHAR)" for name in table.column_names)
    return f"coalesce({contract.UNCAST}, CAST(to_json({{{cells}}}) AS VARCHAR))"


def _condemned(table: contract.Table) -> str:
    return (
        "SELECT file, row, array_agg(rule_id ORDER BY rule_id) AS rules FROM main.broken_rows"
        f" WHERE table_name = '{table.name}' GROUP BY file, row"
    )


def _key(table: contract.Table) -> str:
    """The id columns joined by `|`; times in ISO 8601, a missing cell empty."""
    types = {column.name: column.type for column in table.columns}

    def text(name: str) -> str:
        iso = f"strftime({name}, '%Y-%m-%dT%H:%M:%S.%fZ')"
        return f"coalesce({iso if types[name] == 'ts' else name}, '')"

    return " || '|' || ".join(map(text, _shown_key(table)))


def _shown_key(table: contract.Table) -> tuple[str, ...]:
    """What names a row: its key; where that may be null, name, time and id."""
    return ("symbol", "ts", "trade_id") if table.eventful else table.key
