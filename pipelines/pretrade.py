"""`crossimpact pretrade`: what a basket will cost, by cause and pair, before it is traded.

The champion prices it, as it will price TCA afterwards, at three urgencies and in every regime.
What was predicted stays in the warehouse (`marts/pretrade`), for the realized cost to be held
against.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from crossimpact.consumer.state import expired
from crossimpact.errors import ProblemError
from crossimpact.model import Array, ImpactModel
from crossimpact.pretrade import ExpectedCost, even_flow, expected_cost
from crossimpact.release.bundle import UNKNOWN, Release
from pipelines import basket_file
from pipelines.basket_file import Order
from pipelines.prediction import (
    CAUSES,
    URGENCIES,
    WIDTH,
    PairCost,
    Predicted,
    Result,
    Scenario,
    headline,
)
from pipelines.pretrade_record import digest, remember
from pipelines.release import champion
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, sql

MAX_PAIRS = 20


def run(settings: Settings, path: Path, now: datetime) -> Result:
    """Price the basket of a file by the champion, and remember the prediction.

    Parameters
    ----------
    now
        The moment of the prediction, UTC.

    Raises
    ------
    UsageError, ProblemError
        When the file cannot be read; when a row is wrong, or a symbol is in no model: which line.
    StaleModel
        When no release is champion.
    """
    orders = basket_file.read(path)
    release = champion(settings)[0]
    _refuse_unknown(orders, release)
    notionals, priced_at = _notionals(settings, orders)
    scenarios = tuple(_scenarios(release, orders, notionals))
    notes = (expired(release, now, settings.policy.release.valid_for), priced_at)
    result = Result(
        prediction=digest(release, orders, notionals),
        predicted_at=now,
        release=release.id,
        as_of=release.as_of,
        headline=headline(scenarios, release),
        note="; ".join(filter(None, notes)),
        orders=orders,
        notionals=notionals,
        scenarios=scenarios,
    )
    remember(settings, result, release)
    return result


def _refuse_unknown(orders: Sequence[Order], release: Release) -> None:
    known = {symbol for model in _models(release).values() for symbol in model.symbols}
    for order in orders:
        if known and order.symbol not in known:
            near = difflib.get_close_matches(order.symbol, sorted(known), 1)
            raise ProblemError(
                f"line {order.line}: symbol {order.symbol!r} is not among the {len(known)} of "
                f"release {release.id}",
                f"did you mean {near[0]}?" if near else "price it apart: nothing is known of it",
            )


def _models(release: Release) -> dict[str, ImpactModel]:
    answers = {regime: release.model_for(regime)[0] for regime in _regimes(release)}
    return {regime: model for regime, model in answers.items() if model is not None}


def _regimes(release: Release) -> list[str]:
    return sorted({*release.fallback} - {UNKNOWN})


def _notionals(settings: Settings, orders: Sequence[Order]) -> tuple[tuple[float, ...], str]:
    """USD of each order, and in words whose prices turned shares into dollars."""
    bare = [order for order in orders if order.qty is not None and order.px is None]
    date, mids = _last_mids(settings) if bare else (None, {})
    for order in bare:
        if order.symbol not in mids:
            when = f"the accepted snapshots of {date} have none" if date else "none was accepted"
            raise ProblemError(
                f"line {order.line}: qty of {order.symbol} needs a price, and {when}",
                "give notional_usd, or a column px",
            )
    usd = tuple(
        order.notional_usd or (order.qty or 0.0) * (order.px or mids.get(order.symbol, math.nan))
        for order in orders
    )
    return usd, f"shares at the last mid of {date}" if bare else ""


def _last_mids(settings: Settings) -> tuple[str | None, dict[str, float]]:
    warehouse = Warehouse(settings)
    date = warehouse.last_date("accepted", "market_snapshots")
    if date is None:
        return None, {}
    with warehouse.connect() as connection:
        warehouse.attach(connection, "accepted", "market_snapshots", [date], view=True)
        return date, dict(connection.execute(sql("pretrade/last_mids")).fetchall())


# -- prices --------------------------------------------------------------------------------------


def _scenarios(
    release: Release, orders: Sequence[Order], notionals: Sequence[float]
) -> Iterator[Scenario]:
    first = min(order.start for order in orders)
    for regime in _regimes(release):
        model, rung, reason, _ = release.model_for(regime)
        for urgency, share in URGENCIES.items():
            hurried = [basket_file.at_urgency(order, share) for order in orders]
            minutes = (max(order.end for order in hurried) - first) / timedelta(minutes=1)
            if model is None:
                yield Scenario(urgency, minutes, regime, rung, reason)
                continue
            cost = _expected(model, hurried, notionals, timedelta(seconds=release.bucket_s))
            yield Scenario(
                urgency, minutes, regime, rung, reason,
                basket=_basket(cost, notionals),
                orders=tuple(_order(cost, k, usd) for k, usd in enumerate(notionals)),
                pairs=_pairs(cost, model.symbols),
            )  # fmt: skip


def _expected(
    model: ImpactModel, orders: Sequence[Order], notionals: Sequence[float], bucket: timedelta
) -> ExpectedCost:
    """On the grid of buckets that the model was fitted on."""
    first = min(order.start for order in orders)
    origin = first - (first - datetime(first.year, first.month, first.day, tzinfo=UTC)) % bucket
    windows = [((o.start - origin) / bucket, (o.end - origin) / bucket) for o in orders]
    buckets = math.ceil(max(end for _, end in windows))
    names = [model.symbols.index(order.symbol) for order in orders]
    signed = np.where([o.side == "BUY" for o in orders], 1.0, -1.0) * np.array(notionals)
    flows = np.array([even_flow(start, end, buckets) for start, end in windows])
    arrivals = [int(start) for start, _ in windows]
    return expected_cost(model, (signed / model.adv[names])[:, None] * flows, names, arrivals)


def _order(cost: ExpectedCost, k: int, notional: float) -> Predicted:
    causes = {name: float(getattr(cost, name)[k]) for name in CAUSES}
    return Predicted.of(notional, causes, float(cost.se[k]))


def _basket(cost: ExpectedCost, notionals: Sequence[float]) -> Predicted:
    causes = {name: math.fsum(getattr(cost, name)) for name in CAUSES}
    return Predicted.of(math.fsum(notionals), causes, cost.basket_se)


def _pairs(cost: ExpectedCost, symbols: Sequence[str]) -> tuple[PairCost, ...]:
    both: Array = cost.pairs_now + cost.pairs_carried
    best = np.argsort(-np.abs(both), axis=None, kind="stable")[:MAX_PAIRS]
    places = zip(*np.unravel_index(best, both.shape), strict=True)
    return tuple(_pair(cost, symbols, int(i), int(j)) for i, j in places if both[i, j])


def _pair(cost: ExpectedCost, symbols: Sequence[str], i: int, j: int) -> PairCost:
    now, carried, se = (
        float(part[i, j]) for part in (cost.pairs_now, cost.pairs_carried, cost.pairs_se)
    )
    total = now + carried
    low, high = (total - WIDTH * se, total + WIDTH * se) if se == se else (None, None)
    return PairCost(symbols[i], symbols[j], now, carried, low, high)
