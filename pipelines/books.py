"""The day's books beside its other rows: what is wrong with a snapshot, and every price's mid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa

from crossimpact import contract
from pipelines.store.landing import Landing
from pipelines.store.warehouse import quoted, scalar, sql
from pipelines.tape import Flags, Ints, Tape, tape
from pipelines.trading_day import TradingDay

_SNAPSHOTS, _PRINTS = contract.MARKET_SNAPSHOTS.name, contract.PUBLIC_TRADES.name
_COLUMNS = "row, symbol, ts, bid_px, ask_px, bid_size, ask_size"

#: Rules of a snapshot that the tape answers; `unique_key` besides.
BOOK_RULES = ("snapshots_increase", "spread_bounded", "in_session", "snapshot_gap")


class Books:
    """The tape of the connection's current day.

    Attributes
    ----------
    offenders
        Per rule of a snapshot that needs the others: files and rows that break it.
    is_sorted
        Whether the snapshots lie in the order of the accepted layer already.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, landing: Landing, date: str, day: TradingDay
    ) -> None:
        self._connection = connection
        self._files = [landing.relative(path) for path in landing.files(_SNAPSHOTS, date)] or [""]
        self._prints = [landing.relative(path) for path in landing.files(_PRINTS, date)]
        found = self._read()
        outside = _outside(found.ts, day)
        found = self._tape = replace(found, refused=found.refused | outside)
        self.is_sorted = self._is_sorted()
        flags = {
            contract.UNIQUE_KEY: found.duplicate,
            "snapshots_increase": found.late,
            "spread_bounded": found.wide & ~found.refused,
            "snapshot_gap": found.after_gap,
            "in_session": outside,
        }
        self.offenders = {rule: self._rows(flag) for rule, flag in flags.items()}

    @property
    def tape(self) -> Tape:
        return self._tape

    def _read(self) -> Tape:
        return tape(
            [self._part(file) for file in self._files],
            [self._condemned(file) for file in self._files],
            *self._instruments(),
        )

    def _part(self, file: str) -> pa.Table:
        """Strays of another date are left out: they push no clock forward."""
        query = (
            f"SELECT {_COLUMNS} FROM {_SNAPSHOTS} WHERE symbol IS NOT NULL"
            " AND ts >= getvariable('session_from') AND ts < getvariable('session_to')"
        )
        if len(self._files) > 1:
            query += f" AND file = '{quoted(file)}'"
        return self._rows_of(query)

    def _condemned(self, file: str) -> Ints:
        rows = self._connection.execute(
            "SELECT DISTINCT row FROM broken_rows WHERE table_name = $name AND file = $file",
            {"name": _SNAPSHOTS, "file": file},
        ).fetchall()
        return np.array([row for (row,) in rows], np.int64)

    def _instruments(self) -> Iterator[dict[str, float]]:
        rows = self._connection.execute(
            "SELECT symbol, adv_notional, tick_size FROM instruments WHERE symbol IS NOT NULL"
            " ORDER BY file DESC, row DESC"
        ).fetchall()
        yield {symbol: adv for symbol, adv, _ in rows if adv is not None and adv == adv}
        yield {symbol: tick for symbol, _, tick in rows if tick is not None and tick == tick}

    def _is_sorted(self) -> bool:
        found = self._tape
        in_order = found.is_ordered and list(found.names) == sorted(found.names)
        landed = scalar(self._connection, f"SELECT count(*) FROM {_SNAPSHOTS}")
        return in_order and len(self._files) == 1 and landed == len(found.key)

    def _rows(self, flags: Flags) -> tuple[list[str], list[int]]:
        at = np.flatnonzero(flags)
        return [self._files[i] for i in self._tape.file[at]], self._tape.row[at].tolist()

    def price(self) -> None:
        """Make `priced` and `coinciding` of the day.

        `priced` holds what was asked (fills, decisions, marks, prints) and does not lie within the
        narrowest of the limits of a fresh mid: `mid_px` (null: none before it), its age, and the
        name's first mid of the day. `coinciding` are prints that share name and time.
        """
        self._table("priced", self._doubtful(self._rows_of(sql("validate/asked"))))
        twice = []
        for path in self._prints:
            file = f"'{quoted(path)}'"
            prints = self._rows_of(
                f"SELECT row, symbol, ts, px FROM {_PRINTS} WHERE file = {file}"
                " AND symbol IS NOT NULL AND isfinite(ts)"
            )
            self._table("doubtful", self._doubtful(prints))
            self._connection.execute(
                f"INSERT INTO priced BY NAME SELECT '{_PRINTS}' AS table_name, {file} AS file, *"
                " FROM doubtful"
            )
            twice.append(prints.select(["symbol", "ts"]).append_column("row", prints["row"]))
        self._coincide(twice)

    def _coincide(self, prints: list[pa.Table]) -> None:
        """Make `coinciding` the prints that share name and time with another of the date."""
        whole = pa.concat_tables(prints) if prints else None
        rows = whole.filter(self._twice(whole)) if whole else None
        if rows is None or not rows.num_rows:
            query = f"SELECT * FROM {_PRINTS} LIMIT 0"
        else:
            self._table("twice", rows)
            query = f"SELECT * FROM {_PRINTS} SEMI JOIN twice USING (symbol, ts)"
        self._connection.execute(f"CREATE OR REPLACE TABLE coinciding AS {query}")

    def _rows_of(self, query: str) -> pa.Table:
        return self._connection.sql(query).to_arrow_table()

    def _doubtful(self, asked: pa.Table) -> pa.Table:
        code = self._tape.codes(asked["symbol"])
        mids = self._tape.mids(code, asked["ts"].cast(pa.int64()).to_numpy())
        px = asked["px"].to_numpy(zero_copy_only=False) if asked.num_rows else np.zeros(0)
        near = np.abs(px - mids.mid) <= contract.MAX_PRINT_DISTANCE * mids.mid
        keep = ~(near & (mids.age_s <= contract.MAX_SNAPSHOT_AGE_S))
        result = asked.filter(pa.array(keep))
        for name, values in (
            ("mid_px", mids.mid), ("age_s", mids.age_s), ("opening_mid_px", mids.first),
        ):  # fmt: skip
            result = result.append_column(
                name, pa.array(values[keep], pa.float64(), from_pandas=True)
            )
        return result

    def _twice(self, prints: pa.Table) -> pa.Array:
        """Prints that share name and time with another."""
        code = self._tape.codes(prints["symbol"])
        ts = prints["ts"].cast(pa.int64()).to_numpy()
        key = (code << 44) + (ts - (ts.min() if len(ts) else 0))
        order = np.argsort(key, kind="stable")
        same = np.diff(key[order]) == 0
        twice = np.zeros(len(key), bool)
        twice[order[1:][same]] = twice[order[:-1][same]] = True
        return pa.array(twice)

    def _table(self, name: str, rows: pa.Table) -> None:
        self._connection.register("arrived", rows)
        self._connection.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM arrived")
        self._connection.unregister("arrived")


def _outside(ts: Ints, day: TradingDay) -> Flags:
    """Outside the hours of a named calendar; without one nothing is."""
    if not day.hours:
        return np.zeros(len(ts), bool)
    inside = np.zeros(len(ts), bool)
    for first, last in day.hours:
        inside |= (ts >= first.timestamp() * 1e6) & (ts <= last.timestamp() * 1e6)
    return ~inside
