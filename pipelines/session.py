"""When a date's session is: its calendar's, or the middle of the books landed under it."""

from __future__ import annotations

import duckdb

from crossimpact import contract
from pipelines.store.landing import Landing
from pipelines.store.warehouse import quoted, readable, scalar
from pipelines.trading_day import TradingDay, calendar, trading_day

#: Dates before it that say where a date's session usually lies.
USUAL_DATES = 5
#: Rows looked at for the middle of a date's books.
SAMPLE = 4000


class Sessions:
    """Sessions of a landing's dates; the middle of the same landed books is asked for once."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, landing: Landing) -> None:
        self._connection, self._landing = connection, landing
        self._middles: dict[str, float | None] = {}

    def of(self, date: str) -> TradingDay:
        """The 24 hours a row of the date may lie in."""
        earlier = [d for d in self._landing.dates(contract.MARKET_SNAPSHOTS.name) if d < date]
        return trading_day(
            date, calendar(self._landing.root), self._middle, earlier[-USUAL_DATES:][::-1]
        )

    def _middle(self, date: str) -> float | None:
        known = f"{date} {self._landing.digest(contract.MARKET_SNAPSHOTS.name, date)}"
        if known not in self._middles:
            self._middles[known] = _middle(self._connection, self._landing, date)
        return self._middles[known]


def _middle(connection: duckdb.DuckDBPyConnection, landing: Landing, date: str) -> float | None:
    """Median time of a sample of the date's books, in hours after its midnight UTC."""
    paths = landing.files(contract.MARKET_SNAPSHOTS.name, date)
    files = [path for path in paths if path.suffix == ".parquet"]
    if not files:
        return _middle_of_text(connection, landing, date)
    names = ", ".join(f"'{quoted(readable(path))}'" for path in files)
    source = f"read_parquet([{names}], file_row_number = true, hive_partitioning = false)"
    return _median(connection, source, date)


def _middle_of_text(
    connection: duckdb.DuckDBPyConnection, landing: Landing, date: str
) -> float | None:
    paths = landing.files(contract.MARKET_SNAPSHOTS.name, date)
    if not paths:
        return None
    names = ", ".join(f"'{quoted(readable(path))}'" for path in paths)
    source = (
        "(SELECT TRY_CAST(ts AS TIMESTAMPTZ) AS ts, row_number() OVER () AS file_row_number"
        f" FROM read_csv([{names}], all_varchar = true, hive_partitioning = false))"
    )
    return _median(connection, source, date)


def _median(connection: duckdb.DuckDBPyConnection, source: str, date: str) -> float | None:
    query = (
        f"SELECT median(epoch(ts) - epoch(CAST($date AS TIMESTAMPTZ))) / 3600 FROM {source}"
        " WHERE isfinite(ts) AND file_row_number %"
        f" (SELECT greatest(1, count(*) // {SAMPLE}) FROM {source}) = 0"
    )
    try:
        middle = scalar(connection, query, {"date": date})
    except duckdb.Error:  # it does not read, and blocks its own date
        return None
    return None if middle is None else float(middle)
