"""`crossimpact pretrade`: what a basket will cost, by cause and pair, before it is traded.

The champion prices it, as it will price TCA afterwards, at three urgencies and in every regime.
What was predicted stays in the warehouse (`marts/pretrade`), for the realized cost to be held
against.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from crossimpact.consumer.state import expired
from crossimpact.errors import ProblemError
from crossimpact.model import Array, ImpactModel, canonical_json
from crossimpact.pretrade import ExpectedCost, even_flow, expected_cost
from crossimpact.release import ledger
from crossimpact.release.bundle import UNKNOWN, Release
from pipelines import basket_file
from pipelines.basket_file import Order
from pipelines.release import champion
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, sql, text_sha256

#: Share of each order's window that is used.
URGENCIES = {"low": 1.0, "medium": 0.5, "high": 0.25}
CAUSES = ("spread", "self_now", "self_carried", "cross_now", "cross_carried", "delay")
#: Standard errors each way of an interval of 95%.
WIDTH = 1.96
MAX_PAIRS = 20


@dataclass(frozen=True)
class Predicted:
    """Expected cost, USD, positive = worse; against the mid at the basket's start.

    Attributes
    ----------
    notional_usd
        To be traded.
    spread_usd, self_now_usd, self_carried_usd, cross_now_usd, cross_carried_usd, delay_usd
        Its causes, see `crossimpact.pretrade.ExpectedCost`; they sum to `total_usd`.
    low_usd, high_usd
        95% interval of the expected cost, None where a number that it rests on has no error. The
        market's own moves come on top.
    """

    notional_usd: float
    spread_usd: float
    self_now_usd: float
    self_carried_usd: float
    cross_now_usd: float
    cross_carried_usd: float
    delay_usd: float
    total_usd: float
    low_usd: float | None
    high_usd: float | None

    @classmethod
    def of(cls, notional: float, causes: Mapping[str, float], se: float) -> Predicted:
        total = math.fsum(causes.values())
        low, high = (total - WIDTH * se, total + WIDTH * se) if se == se else (None, None)
        named = {f"{name}_usd": value for name, value in causes.items()}
        return cls(notional_usd=notional, **named, total_usd=total, low_usd=low, high_usd=high)

    @property
    def total_bps(self) -> float:
        """Of the notional."""
        return 1e4 * self.total_usd / self.notional_usd

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "total_bps": self.total_bps}


@dataclass(frozen=True)
class PairCost:
    """What two names cost each other, both directions: in the same buckets, and by what one's
    earlier trading left for the other's."""

    symbol_i: str
    symbol_j: str
    now_usd: float
    carried_usd: float
    low_usd: float | None
    high_usd: float | None


@dataclass(frozen=True)
class Scenario:
    """The basket at one urgency in one regime.

    Attributes
    ----------
    minutes
        From the first order's start to the last one's end.
    rung, reason
        Who answers; without a model there are no costs, only a share of volume.
    basket, orders, pairs
        Orders as in the file; the largest pairs.
    """

    urgency: str
    minutes: float
    regime: str
    rung: str
    reason: str
    basket: Predicted | None = None
    orders: tuple[Predicted, ...] = ()
    pairs: tuple[PairCost, ...] = ()


@dataclass(frozen=True)
class Result:
    """Every scenario of a basket, by one release.

    Attributes
    ----------
    prediction
        Of the same orders by the same release: the same.
    headline
        The answer in a sentence.
    note
        What to know besides: the release has expired, where prices come from.
    """

    prediction: str
    predicted_at: datetime
    release: str
    as_of: str
    headline: str
    note: str
    orders: tuple[Order, ...]
    notionals: tuple[float, ...]
    scenarios: tuple[Scenario, ...]

    def to_dict(self) -> dict[str, Any]:
        plain = asdict(self)
        for scenario, of in zip(plain["scenarios"], self.scenarios, strict=True):
            scenario["basket"] = of.basket.to_dict() if of.basket else None
            scenario["orders"] = [
                {"order_id": order.order_id, "symbol": order.symbol, "side": order.side}
                | cost.to_dict()
                for order, cost in zip(self.orders, of.orders, strict=bool(of.orders))
            ]
        for order, notional in zip(plain["orders"], self.notionals, strict=True):
            order |= {"notional_usd": notional, "start": order["start"].isoformat(),
                      "end": order["end"].isoformat()}  # fmt: skip
        return {**plain, "predicted_at": self.predicted_at.isoformat()}


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
        prediction=_digest(release, orders, notionals),
        predicted_at=now,
        release=release.id,
        as_of=release.as_of,
        headline=headline(scenarios, release),
        note="; ".join(filter(None, notes)),
        orders=orders,
        notionals=notionals,
        scenarios=scenarios,
    )
    _remember(settings, result, release)
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


# -- in words ------------------------------------------------------------------------------------


def headline(scenarios: Sequence[Scenario], release: Release) -> str:
    """The cost as planned in every regime, the largest cause and pair, and what haste adds."""
    priced = [s for s in scenarios if s.basket]
    if not priced:
        return f"release {release.id} has no model to price this basket: {scenarios[0].reason}"
    planned = [s for s in priced if s.urgency == "low"]
    first = planned[0]
    sentences = ["Expected cost as planned: " + ", ".join(map(_in_regime, planned))]
    if first.basket:
        causes = {name: getattr(first.basket, f"{name}_usd") for name in CAUSES}
        largest = max(causes, key=lambda name: abs(causes[name]))
        share = causes[largest] / first.basket.total_usd if first.basket.total_usd else math.nan
        sentences.append(f"the largest cause is {WORDS[largest]}, {share:.0%}")
    if first.pairs:
        pair = first.pairs[0]
        usd = pair.now_usd + pair.carried_usd
        what = "cost each other" if usd > 0 else "save each other"
        sentences.append(f"{pair.symbol_i} and {pair.symbol_j} {what} {abs(usd):,.0f} USD")
    hurried = next(s for s in priced if s.regime == first.regime and s.urgency == "high")
    if hurried.basket and first.basket:
        more = hurried.basket.total_usd - first.basket.total_usd
        sentences.append(f"in a quarter of the time {abs(more):,.0f} USD {_more(more)}")
    return "; ".join(sentences) + "."


WORDS = {
    "spread": "the spread",
    "self_now": "own impact at once",
    "self_carried": "own impact carried over",
    "cross_now": "cross impact at once",
    "cross_carried": "cross impact carried over",
    "delay": "what earlier orders moved before later ones arrive",
}


def _in_regime(scenario: Scenario) -> str:
    cost = scenario.basket
    if cost is None:
        return scenario.reason
    text = f"{cost.total_usd:,.0f} USD ({cost.total_bps:,.1f} bps"
    if cost.low_usd is not None and cost.high_usd is not None:
        text += f"; 95% {cost.low_usd:,.0f} to {cost.high_usd:,.0f}"
    return f"{text}) in a {scenario.regime} market"


def _more(usd: float) -> str:
    return "more" if usd > 0 else "less"


# -- memory --------------------------------------------------------------------------------------

TABLE = "pretrade"
#: The costs of a row, and what they are.
COLUMNS = {
    "notional_usd": "to be traded",
    "spread_usd": "expected: half spread and fees, alpha of the model",
    "self_now_usd": "expected: own flow of the bucket",
    "self_carried_usd": "expected: what earlier own flow of the basket left, since its start",
    "cross_now_usd": "expected: the basket's other names, same bucket",
    "cross_carried_usd": "expected: what they left",
    "delay_usd": "expected: what the basket's earlier orders moved before this one starts",
    "total_usd": "sum of these, against the mid at the basket's start",
    "low_usd": "95% interval of the expectation, lower end; null where it is unknown",
    "high_usd": "upper end",
    "total_bps": "total of the notional",
}
SCHEMA = pa.schema(
    [("prediction", pa.string()), ("predicted_at", pa.timestamp("us", tz="UTC"))]
    + [(name, pa.string()) for name in ("release_id", "basket_id", "order_id")]
    + [("line", pa.int64()), ("symbol", pa.string()), ("side", pa.string())]
    + [(name, pa.timestamp("us", tz="UTC")) for name in ("start_ts", "end_ts")]
    + [(name, pa.string()) for name in ("urgency", "regime", "rung")]
    + [(name, pa.float64()) for name in COLUMNS]
)


def _digest(release: Release, orders: Sequence[Order], notionals: Sequence[float]) -> str:
    plain = [[str(value) for value in (*order.key, order.symbol, order.side, order.start,
                                       order.end)] for order in orders]  # fmt: skip
    said = canonical_json({"orders": plain, "usd": list(notionals)}).decode()
    return text_sha256(release.digest, said)[:16]


def _remember(settings: Settings, result: Result, release: Release) -> None:
    """Add the prediction to those of the date on which the basket starts; once, however often it
    is asked for."""
    warehouse = Warehouse(settings)
    date = min(order.start for order in result.orders).date().isoformat()
    rows = list(_rows(result))
    lock = warehouse.folder("marts", TABLE, date) / ".lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    if not rows:
        return
    with ledger.hold(lock), warehouse.connect() as connection:
        before = warehouse.manifest("marts", TABLE, date)
        if before and result.prediction in before.inputs:
            return
        made = pa.Table.from_pylist(rows, SCHEMA)
        connection.register("made", made)
        if before:
            warehouse.attach(connection, "marts", TABLE, [date], view=True)
            connection.execute(f"CREATE VIEW predicted AS SELECT * FROM {TABLE}")
        else:
            connection.register("predicted", SCHEMA.empty_table())
        inputs = {**(before.inputs if before else {}), result.prediction: release.digest}
        warehouse.publish(
            connection, sql("pretrade/remembered"), "marts", TABLE, date, inputs=inputs
        )


def _rows(result: Result) -> Iterator[dict[str, Any]]:
    for scenario in result.scenarios:
        for order, cost in zip(result.orders, scenario.orders, strict=bool(scenario.orders)):
            yield {
                "prediction": result.prediction,
                "predicted_at": result.predicted_at,
                "release_id": result.release,
                "basket_id": order.basket_id,
                "order_id": order.order_id or None,
                "line": order.line,
                "symbol": order.symbol,
                "side": order.side,
                "start_ts": order.start,
                "end_ts": basket_file.at_urgency(order, URGENCIES[scenario.urgency]).end,
                "urgency": scenario.urgency,
                "regime": scenario.regime,
                "rung": scenario.rung,
                **cost.to_dict(),
            }
