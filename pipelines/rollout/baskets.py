"""Baskets of accepted dates with what they cost and the arm they were drawn for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from crossimpact.rollout.design import DayDraw, burn_in
from crossimpact.rollout.ledger import Entry
from crossimpact.rollout.outcomes import CONTROLS, Outcomes
from pipelines import shadow_tables
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, sql

ORDERS = "tca_orders"


@dataclass(frozen=True)
class Basket:
    """A basket of a date; units as in `sql/rollout/baskets.sql`. Controls are None without a
    shadow of the date."""

    date: str
    basket_id: str
    start_ts: datetime
    notional_usd: float
    is_bps: float
    market_bps: float | None
    spread_bps: float | None
    other_expected_bps: float | None
    bad_fills: float
    bad_fill_usd: float
    participation: float
    completion: float
    spans: bool

    @property
    def controls(self) -> list[float]:
        """The columns of `CONTROLS`."""
        return [getattr(self, name) for name in CONTROLS]


@dataclass(frozen=True)
class LeftOut:
    """A basket, or all of a date (`basket_id` empty), that is no evidence, and why."""

    date: str
    basket_id: str
    why: str


@dataclass(frozen=True)
class Drawn:
    """Randomised baskets, and what of the drawn dates is no evidence."""

    outcomes: Outcomes
    stratum: np.ndarray
    draws: tuple[DayDraw, ...]
    left_out: tuple[LeftOut, ...]
    baskets: int


def of_dates(settings: Settings, dates: Iterable[str]) -> dict[str, list[Basket]]:
    """The baskets of every date that has its TCA, in the order they began."""
    warehouse, layer = Warehouse(settings), shadow_tables.LAYER
    priced, shadowed = (
        {*warehouse.dates(*of)} for of in (("marts", ORDERS), (layer, shadow_tables.BASKETS))
    )
    known = [day for day in dates if day in priced]
    result: dict[str, list[Basket]] = {day: [] for day in known}
    if not known:
        return result
    with warehouse.connect() as connection:
        warehouse.attach(connection, "marts", ORDERS, known, dated=True)
        warehouse.attach(connection, "accepted", "instruments", known, dated=True)
        if judged := [day for day in known if day in shadowed]:
            warehouse.attach(connection, layer, shadow_tables.BASKETS, judged)
        else:
            empty = pa.Table.from_pylist([], shadow_tables.SCHEMAS[shadow_tables.BASKETS])
            connection.register(shadow_tables.BASKETS, empty)
        connection.execute(f"CREATE TABLE found AS {sql('rollout/baskets')}")
        for row in connection.table("found").to_arrow_table().to_pylist():
            day = row["date"].isoformat()
            told = {**row, "date": day, "start_ts": _utc(row["start_ts"])}
            result[day].append(Basket(**told))
    return result


def drawn(
    settings: Settings, commits: Mapping[str, Entry], salts: Mapping[str, bytes],
    half_lives_min: Mapping[str, float],
) -> Drawn:  # fmt: skip
    """The baskets of the dates whose salt is known, each with its arm and chance.

    Raises
    ------
    CrossImpactError
        When a salt is not the one that was committed to.
    """
    rows: list[tuple[Basket, DayDraw, bytes]] = []
    left_out: list[LeftOut] = []
    count = 0
    known = {day: entry for day, entry in sorted(commits.items()) if day in salts}
    of_day = of_dates(settings, known)
    for day, entry in known.items():
        if entry.draw is None:
            continue
        entry.draw.opens(salts[day])
        if day not in of_day:
            left_out.append(LeftOut(day, "", "no TCA of the date"))
            continue
        count += len(of_day[day])
        good, bad = _split(of_day[day], entry, half_lives_min)
        left_out += bad
        rows += [(basket, entry.draw, salts[day]) for basket in good]
    draws = tuple({draw.date: draw for _, draw, _ in rows}.values())
    stratum = np.array([draw.stratum(b.notional_usd) for b, draw, _ in rows], dtype=np.intp)
    return Drawn(_outcomes(rows), stratum, draws, tuple(left_out), count)


def before(settings: Settings, last: str, dates: int) -> Outcomes:
    """Baskets of the last dates before one, undrawn, for the weights of the controls."""
    known = [d for d in Warehouse(settings).dates("marts", ORDERS) if d < last][-dates:]
    found = [basket for day in of_dates(settings, known).values() for basket in day]
    sound = [basket for basket in found if not _unsound(basket)]
    return _outcomes([(basket, None, b"") for basket in sound])


def _split(
    found: Sequence[Basket], entry: Entry, half_lives_min: Mapping[str, float]
) -> tuple[list[Basket], list[LeftOut]]:
    """What of a date is evidence, and what is not."""
    draw = entry.draw
    if draw is None or not found:
        return [], []
    if entry.moment >= (opened := min(basket.start_ts for basket in found)):
        why = f"its salt was committed at {entry.when}, after the open at {opened.isoformat()}"
        return [], [LeftOut(draw.date, "", why)]
    good, bad = [], []
    for basket in found:
        why = _unsound(basket)
        if not why and burn_in(basket.start_ts, draw.design, half_lives_min):
            why = "it began in the burn-in of the second half day"
        if why:
            bad.append(LeftOut(draw.date, basket.basket_id, why))
        else:
            good.append(basket)
    return good, bad


def _unsound(basket: Basket) -> str:
    """Why a basket is no evidence of its date; empty when it is."""
    if basket.spans:
        return "it spans days"
    if any(value is None for value in basket.controls):
        return "no shadow of it, so its controls are not known"
    if not basket.notional_usd > 0:
        return f"its notional is {basket.notional_usd:g} USD"
    return ""


def _outcomes(rows: Sequence[tuple[Basket, DayDraw | None, bytes]]) -> Outcomes:
    baskets = [basket for basket, _, _ in rows]
    arms = [
        draw.arm(salt, b.basket_id, b.notional_usd, b.start_ts) == "policy" if draw else False
        for b, draw, salt in rows
    ]
    chances = [draw.chance(b.notional_usd) if draw else 0.5 for b, draw, _ in rows]
    units = [draw.unit(b.basket_id, b.start_ts) if draw else b.basket_id for b, draw, _ in rows]

    def column(name: str) -> np.ndarray:
        return np.array([getattr(basket, name) for basket in baskets], dtype=float)

    return Outcomes(
        date=np.array([basket.date for basket in baskets], dtype=str),
        basket=np.array([basket.basket_id for basket in baskets], dtype=str),
        unit=np.array(units, dtype=str),
        treated=np.array(arms, dtype=bool),
        propensity=np.array(chances, dtype=float),
        notional_usd=column("notional_usd"),
        is_bps=column("is_bps"),
        controls=np.array([b.controls for b in baskets], dtype=float).reshape(-1, len(CONTROLS)),
        bad_fills=column("bad_fills"),
        bad_fill_usd=column("bad_fill_usd"),
        participation=column("participation"),
        completion=column("completion"),
    )


def _utc(value: Any) -> datetime:
    moment: datetime = value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
