"""Parquet files of row groups of one size, whatever pieces the rows come in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb

#: Rows written together.
ROW_GROUP = 250_000


def write(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> int:
    """Rows of `query` written to `path`, the same rows as the same bytes.

    In row groups of one size, whatever pieces they come in; not `COPY (query)`, whose pages are cut
    as the plan's inputs were.
    """
    from pyarrow import parquet  # not for those who only read manifests

    rows = 0
    connection.abort()  # of a result that nobody read to its end
    reader = connection.sql(query).to_arrow_reader(ROW_GROUP)
    with parquet.ParquetWriter(path, reader.schema) as writer:
        for group in _regrouped(reader):
            writer.write_table(group, row_group_size=ROW_GROUP)
            rows += group.num_rows
    return rows


def _regrouped(batches: Iterable[Any]) -> Iterator[Any]:
    """Tables of exactly ROW_GROUP rows, in one piece each, but for the last."""
    from pyarrow import Table

    held: list[Any] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.num_rows
        while size >= ROW_GROUP:
            whole = Table.from_batches(held).combine_chunks()
            yield whole.slice(0, ROW_GROUP)
            held = whole.slice(ROW_GROUP).to_batches()
            size -= ROW_GROUP
    if held:
        yield Table.from_batches(held).combine_chunks()
