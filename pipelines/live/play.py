"""A landed date as a live feed: quotes, parents and the desk's own fills as they came.

The fills are of what the desk did then, so a session of them is advice beside what was done. Event
time goes `speed` times as fast as the wall clock; 0 plays as fast as the loop takes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from crossimpact import contract
from crossimpact.errors import UsageError
from crossimpact.policy.live import events
from crossimpact.policy.live.events import Event, Fill, Market, ParentOrder, Regime, Snapshot
from crossimpact.release.bundle import UNKNOWN
from pipelines.live.rows import Raw
from pipelines.store.landed import attach
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

TABLES = (
    contract.MARKET_SNAPSHOTS, contract.INSTRUMENTS, contract.PARENT_ORDERS, contract.CHILD_FILLS,
)  # fmt: skip
#: Seconds between a name's quotes: a decision needs no more.
QUOTE_S = 10.0
BATCH = 200
#: Between an order system's snapshots of what is filled.
SNAPSHOT = timedelta(minutes=30)
Row = dict[str, Any]


class Player:
    """The feed of a landed date; see `crossimpact live --play`.

    Parameters
    ----------
    speed
        Event time over wall time; 0: as fast as it goes.
    quote_s
        Seconds between a name's quotes at least.

    Raises
    ------
    UsageError
        When the date has no snapshots.
    """

    def __init__(
        self,
        settings: Settings,
        landing: Landing,
        date: str,
        speed: float = 0.0,
        quote_s: float = QUOTE_S,
    ) -> None:
        self._speed, self._date = speed, date
        tables = _read(settings, landing, date)
        if not tables["market_snapshots"]:
            raise UsageError(
                f"landing zone {landing.root} has no market_snapshots on {date}",
                f"its dates are {', '.join(landing.all_dates()[-3:])}",
            )
        labels = Warehouse(settings).rows(settings.feature_layer, "regimes", date) or []
        rows = [*_quotes(tables, settings.bucket_s, quote_s), *_orders(tables), *_fills(tables)]
        rows += _snapshots(tables)
        rows += [Regime(regime=str(row["regime"]), at=_moment(row["ts"])) for row in labels]
        self.events: list[Event] = sorted(rows, key=lambda row: row.at)
        self.events.insert(0, Regime(regime=UNKNOWN, at=self.events[0].at))

    async def rows(self) -> AsyncIterator[list[Raw]]:
        last = self.events[0].at
        for k in range(0, len(self.events), BATCH):
            part = self.events[k : k + BATCH]
            if self._speed > 0:
                await asyncio.sleep((part[-1].at - last).total_seconds() / self._speed)
                last = part[-1].at
            feed = f"play-{self._date}"
            yield [
                Raw(msgspec.json.encode(events.plain(row)), feed, k + i)
                for i, row in enumerate(part)
            ]
            await asyncio.sleep(0)

    async def acknowledge(self) -> None:
        """A landing keeps its rows."""


def _read(settings: Settings, landing: Landing, date: str) -> dict[str, list[Row]]:
    result: dict[str, list[Row]] = {}
    with Warehouse(settings).connect() as connection:
        for table in TABLES:
            if problems := attach(connection, landing, table, date).problems:
                raise UsageError(f"{problems[0]}", "run `crossimpact validate` for all of it")
            found = connection.table(table.name)
            result[table.name] = found.select(*table.column_names).to_arrow_table().to_pylist()
    return result


def _quotes(tables: dict[str, list[Row]], bucket_s: int, quote_s: float) -> Iterator[Event]:
    """A name's quote at most every `quote_s`; an even share of its ADV as the expected volume."""
    adv = {row["symbol"]: row["adv_notional"] for row in tables["instruments"]}
    rows = sorted(tables["market_snapshots"], key=lambda row: (row["symbol"], row["ts"]))
    span = max(row["ts"] for row in rows) - min(row["ts"] for row in rows)
    buckets = max(1.0, span / timedelta(seconds=bucket_s))
    last: dict[str, datetime] = {}
    for row in rows:
        symbol, at = row["symbol"], _moment(row["ts"])
        bid, ask = row["bid_px"], row["ask_px"]
        if symbol in last and (at - last[symbol]).total_seconds() < quote_s:
            continue
        if not (bid and ask and 0 < bid <= ask):
            continue
        last[symbol] = at
        notional = adv.get(symbol)
        volume = notional / buckets / ((bid + ask) / 2) if notional else None
        yield Market(
            symbol=symbol, bid=bid, ask=ask, volume=volume, adv_usd=notional,
            volatility_bps=max(0.0, row["short_vol_bps"] or 0.0), at=at,
        )  # fmt: skip


def _orders(tables: dict[str, list[Row]]) -> Iterator[Event]:
    for row in tables["parent_orders"]:
        sign = 1.0 if row["side"] == "BUY" else -1.0
        yield ParentOrder(
            id=row["order_id"], symbol=row["symbol"], quantity=sign * row["parent_qty"],
            deadline=_moment(row["end_ts"]), alpha_bps=row["alpha_bps"] or 0.0,
            at=_moment(row["start_ts"]),
        )  # fmt: skip


def _fills(tables: dict[str, list[Row]]) -> Iterator[Event]:
    for row in tables["child_fills"]:
        sign = 1.0 if row["side"] == "BUY" else -1.0
        yield Fill(
            id=row["fill_id"], parent=row["order_id"], symbol=row["symbol"],
            quantity=sign * row["fill_qty"], price=row["fill_px"],
            passive=row["liquidity"] == "PASSIVE", at=_moment(row["fill_ts"]),
        )  # fmt: skip


def _snapshots(tables: dict[str, list[Row]]) -> Iterator[Event]:
    """What the order system says each `SNAPSHOT`: the fills so far that are of an order and its
    name, each once."""
    orders = {row["order_id"]: row for row in tables["parent_orders"]}
    fills = {row["fill_id"]: row for row in tables["child_fills"]}
    own = [
        row for row in fills.values()
        if (order := orders.get(row["order_id"])) and order["symbol"] == row["symbol"]
    ]  # fmt: skip
    own.sort(key=lambda row: (row["fill_ts"], row["fill_id"]))
    filled: dict[str, float] = {}
    due = _moment(own[0]["fill_ts"]) + SNAPSHOT if own else None
    for row in own:
        at = _moment(row["fill_ts"])
        while due is not None and at > due:
            begun = {
                k: filled.get(k, 0.0) for k, o in orders.items() if _moment(o["start_ts"]) < due
            }
            yield Snapshot(filled=begun, working={}, at=due)
            due += SNAPSHOT
        sign = 1.0 if row["side"] == "BUY" else -1.0
        filled[row["order_id"]] = filled.get(row["order_id"], 0.0) + sign * row["fill_qty"]


def _moment(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
