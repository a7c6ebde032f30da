"""What a date is remembered by: the numbers its successors are held against.

A profile comes from the date's landed files alone, whatever rules their rows break; it is kept as a
partition of the home, so that a date's month costs nothing once it was judged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import duckdb
import numpy as np

from crossimpact import contract
from pipelines.feed import Stretch, market_silences, silences, still_books
from pipelines.store.landing import Landing
from pipelines.store.provenance import code_digest
from pipelines.store.warehouse import Warehouse, quoted, sql
from pipelines.tape import Tape

LAYER, TABLE = "profiles", "dates"


@dataclass(frozen=True)
class Profile:
    """Numbers of a date.

    Attributes
    ----------
    numbers
        By `rule.table` of a day rule, e.g. `rows.child_fills`.
    by_name
        Per symbol, by rule (`adv_jump`, `price_jump`).
    market, single, still
        Silences of the market, of names, and books that stood still.
    open_us, close_us
        First and last book, microseconds since the date's midnight UTC.
    prints_in
        Prints of a name within each of `single`, in its order.
    catchups
        Prints far above their name's median: name, time [us], multiple.
    instruments
        Digest of the instruments' rows.
    """

    numbers: Mapping[str, float | None]
    by_name: Mapping[str, Mapping[str, float]]
    market: tuple[Stretch, ...]
    single: tuple[Stretch, ...]
    still: tuple[Stretch, ...]
    open_us: int
    close_us: int
    midnight_us: int
    prints_in: tuple[int, ...] = ()
    catchups: tuple[tuple[str, int, float], ...] = ()
    instruments: str = ""
    names: tuple[str, ...] = field(default_factory=tuple)

    def text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def read(cls, text: str) -> Profile:
        plain = json.loads(text)
        for name in ("market", "single", "still"):
            plain[name] = tuple(Stretch(tuple(s.pop("names")), **s) for s in plain[name])
        plain |= {name: tuple(plain[name]) for name in ("prints_in", "names")}
        plain["catchups"] = tuple((n, int(t), float(x)) for n, t, x in plain["catchups"])
        return cls(**plain)


def profile(connection: duckdb.DuckDBPyConnection, tape: Tape, date: str) -> Profile:
    """The profile of the connection's current day, whose books are `tape`."""
    numbers = _numbers(connection, "numbers", tape)
    single = tuple(silences(tape))
    named = connection.execute(sql("profile/by_name")).fetchall()
    by_name: dict[str, dict[str, float]] = {"adv_jump": {}, "price_jump": _prices(tape)}
    by_name["adv_jump"] = {name: float(adv) for name, adv in named}
    midnight = int(np.datetime64(date, "us").astype(np.int64))
    times = tape.ts if len(tape.ts) else np.array([midnight])
    catchups = connection.execute(sql("profile/catchup_prints"), {"times": _limit("catchup_print")})
    return Profile(
        numbers,
        by_name,
        tuple(market_silences(tape)),
        single,
        tuple(still_books(tape)),
        int(times.min()) - midnight,
        int(times.max()) - midnight,
        midnight,
        _prints_in(connection, single),
        tuple((name, int(at), float(multiple)) for name, at, multiple in catchups.fetchall()),
        str(connection.execute(sql("profile/instruments")).fetchall()[0][0]),
        tuple(sorted(tape.names)),
    )


def _limit(rule: str) -> float:
    return next(found.limit for found in contract.DAY_RULES if found.id == rule)


def _numbers(
    connection: duckdb.DuckDBPyConnection, query: str, tape: Tape
) -> dict[str, float | None]:
    first, last = (int(tape.ts.min()), int(tape.ts.max())) if len(tape.ts) else (0, 0)
    cursor = connection.execute(sql(f"profile/{query}"), {"first_us": first, "last_us": last})
    names = [name for name, *_ in cursor.description or ()]
    (row,) = cursor.fetchall()
    found = {name.replace("__", "."): value for name, value in zip(names, row, strict=True)}
    found |= _of_books(tape)
    return {name: None if value is None else float(value) for name, value in found.items()}


def _of_books(tape: Tape) -> dict[str, float | None]:
    if len(tape.ts) < 2:
        return dict.fromkeys(("snapshot_interval.market_snapshots", "spread.market_snapshots"))
    code, ts = tape.ordered(tape.code), tape.ordered(tape.ts)
    gaps = np.diff(ts)[code[1:] == code[:-1]]
    sane = (tape.bid > 0) & (tape.ask >= tape.bid)
    spread = 2 * (tape.ask - tape.bid)[sane] / (tape.ask + tape.bid)[sane]
    return {
        "snapshot_interval.market_snapshots": float(np.median(gaps)) / 1e6 if len(gaps) else None,
        "spread.market_snapshots": float(np.median(spread)) if len(spread) else None,
    }


def _prices(tape: Tape) -> dict[str, float]:
    """Each name's median mid of up to a hundred books of its day."""
    result = {}
    code, mid = tape.ordered(tape.code), tape.ordered(tape.bid + tape.ask) / 2
    edges = np.searchsorted(code, np.arange(len(tape.names) + 1))
    for k, name in enumerate(tape.names):
        own = mid[edges[k] : edges[k + 1]]
        own = own[:: max(1, len(own) // 100)]
        own = own[np.isfinite(own) & (own > 0)]
        if len(own):
            result[name] = float(np.median(own))
    return result


def _prints_in(
    connection: duckdb.DuckDBPyConnection, stretches: tuple[Stretch, ...]
) -> tuple[int, ...]:
    """Prints of its name inside each stretch."""
    if not stretches:
        return ()
    lines = ", ".join(f"('{quoted(s.names[0])}', {s.start}, {s.end})" for s in stretches)
    rows = connection.execute(
        "SELECT (SELECT count(*) FROM public_trades AS p WHERE p.symbol = s.symbol AND"
        " epoch_us(p.ts) > first_us AND epoch_us(p.ts) < last_us) FROM (SELECT *, row_number()"
        f" OVER () AS nth FROM (VALUES {lines}) AS v (symbol, first_us, last_us)) AS s ORDER BY nth"
    ).fetchall()
    return tuple(int(count) for (count,) in rows)


class Profiles:
    """Profiles of a landing's dates, from this run, from the home, or made anew."""

    def __init__(self, landing: Landing, warehouse: Warehouse | None) -> None:
        self._landing, self._warehouse = landing, warehouse
        self._known: dict[str, Profile] = {}

    def inputs(self, date: str) -> dict[str, str]:
        """What a profile was made from."""
        digests = {n: self._landing.digest(n, date) for n in contract.TABLES}
        return {**digests, "code": code_digest("pipelines.profile")}

    def keep(self, connection: duckdb.DuckDBPyConnection, date: str, found: Profile) -> None:
        """Remember a date's profile, in the home too where there is one."""
        self._known[date] = found
        if self._warehouse is not None:
            query = f"SELECT '{quoted(found.text())}' AS profile"
            publish = partial(self._warehouse.publish, connection, query, LAYER, TABLE, date)
            publish(inputs=self.inputs(date))

    def find(self, date: str) -> Profile | None:
        """A date's profile if it is known as its files are now."""
        if date not in self._known and self._warehouse is not None:
            manifest = self._warehouse.manifest(LAYER, TABLE, date)
            if manifest is not None and manifest.inputs == self.inputs(date):
                rows: Any = self._warehouse.rows(LAYER, TABLE, date)
                self._known[date] = Profile.read(rows[0]["profile"])
        return self._known.get(date)
