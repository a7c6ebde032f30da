"""DuckDB under Great Expectations: one open connection served through SQLAlchemy.

GX reads a result after SQLAlchemy has handed its connection back, and the roll-back that goes with
it empties DuckDB's shared cursor. Here every statement runs on a cursor of its own, so its result
lives as long as the reader holds it, and nothing is buffered.
"""

from __future__ import annotations

import atexit
import sys
from typing import Any

from duckdb_engine import ConnectionWrapper, CursorWrapper


class OwnCursor(CursorWrapper):
    """A cursor that describes columns in plain text: GX keeps descriptions beyond DuckDB's end."""

    def __init__(self, cursor: Any, connection: ConnectionWrapper) -> None:
        super().__init__(cursor, connection)
        self._cursor = cursor

    @property
    def description(self) -> list[tuple[Any, ...]] | None:
        columns = self._cursor.description
        return columns and [(name, str(kind), *rest) for name, kind, *rest in columns]


class OwnCursorConnection(ConnectionWrapper):
    """A DB-API view of an open DuckDB connection that does not own it.

    Parameters
    ----------
    connection
        The DuckDB connection whose tables GX shall see (anything with `.cursor()`).
    """

    def __init__(self, connection: Any) -> None:
        super().__init__(connection.cursor())
        self._source = connection

    def cursor(self) -> CursorWrapper:
        return OwnCursor(self._source.cursor(), self)


@atexit.register
def _forget_driver() -> None:
    """Let go of the driver at exit: GX keeps it, and DuckDB would report its types leaked."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "duckdb_engine"]:
        vars(sys.modules[name]).clear()
