"""A desk's orders under a promoted matrix: a CSV file and a release become a sequence problem.

Columns of the file, one row per order and symbol, more when parts became known at several times:

- ``order``: 0, 1, ..., in the order they are worked; ``symbol``; ``volume``: signed USD;
- ``start``, ``end``: the order's horizon, in any unit of time (buckets, hours); the next order
  starts where it ends. Left out when boundaries are given apart;
- ``known`` (optional): index of the boundary at which this part of the order became known, at most
  its own start; 0, the first, by default.

The kernel is the release's, at the slow end of its half-life's interval: ``K g(t)`` with K what a
bucket leaves in the mid at its end, of the model's dollar matrix ``S + diag(1e-4 beta / adv)``:
relative price move per USD, so costs are USD. A desk's own rho replaces it, ``K exp(-rho t)`` with
the dollar matrix itself, rho per unit of the orders' time. Names are scaled by ``sqrt(adv)`` before
solving, where K is well conditioned, and back afterwards.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossimpact.alignment import Alignment, Index
from crossimpact.errors import Inadmissible, ProblemError, StaleModel, UsageError
from crossimpact.model import BPS, Array, ImpactModel
from crossimpact.policy.sequential.kernel import Exponential, Kernel, SumOfExponentials
from crossimpact.policy.sequential.kernel import project as repaired
from crossimpact.policy.sequential.limits import Limits
from crossimpact.policy.sequential.problem import Problem, hybrid, ttsc
from pipelines.release import champion, resolve
from pipelines.sequence.problem_file import Objective, Task
from pipelines.store.settings import Settings
from registry.tracking import CHAMPION

COLUMNS = ("order", "symbol", "volume")
MORE = ("start", "end", "known")


@dataclass(frozen=True)
class Desk:
    """The scaled task, USD per scaled unit of each asset, and where the matrix came from."""

    task: Task
    units: Array
    facts: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A line of the file."""

    order: int
    symbol: str
    volume: float
    start: float | None
    end: float | None
    known: int


def load(
    settings: Settings,
    path: Path,
    which: str,
    regime: str,
    rho: float | None = None,
    *,
    minutes: float | None = None,
    times: list[float] | None = None,
    objective: Objective = "tthc",
    spread: bool = False,
    pov: float | None = None,
    day: float | None = None,
    no_blocks: bool = False,
    full_span: bool = False,
    project: bool = False,
) -> Desk:
    """The desk's problem under a release's model of `regime`.

    Parameters
    ----------
    which
        ``champion``, ``challenger`` or a release id.
    rho
        The desk's own decay per unit of time, > 0; by default the release's kernel.
    minutes
        Of one unit of the orders' time, for the release's kernel; a bucket by default.
    times
        Boundaries, when the file has no ``start`` and ``end``.
    spread
        Charge the model's linear cost ``1e-4 alpha`` per USD.
    pov, day
        Largest rate of trading as a share of volume, 0 to 1, and how long the day that trades an
        ADV is in the orders' unit of time.
    no_blocks, full_span
        As of `Limits`.
    project
        Repair a matrix that is not admissible instead of refusing it.

    Raises
    ------
    UsageError
        When the file cannot be read or lacks a column, or neither rho nor the release has a decay.
    ProblemError
        When a row is wrong: which, and its number against its limit.
    StaleModel
        When there is no such release, or it has no model of the regime.
    """
    release = champion(settings)[0] if which == CHAMPION else resolve(settings, which)[0]
    model, rung, reason, *_ = release.model_for(regime)
    if model is None:
        raise StaleModel(
            f"release {release.id} has no model of regime {regime}: {rung}, {reason}",
            "a fixed share of volume has no schedule to optimise",
        )
    rows = _read(path)
    symbols = tuple(dict.fromkeys(row.symbol for row in rows))
    names = _places(symbols, model)
    adv = model.adv[names]
    units = np.sqrt(adv / BPS)
    limits = Limits(
        spread=BPS * model.alpha[names] * units if spread else 0.0,
        max_rate=None if pov is None else _fastest(pov, day) * adv / units,
        no_blocks=no_blocks,
        full_span=full_span,
    )
    K = model.scaled[np.ix_(names, names)]
    kernel, decay = _kernel(model, K, rho, minutes, project)
    if pov is not None and no_blocks:
        _check_room(rows, times, dict(zip(symbols, _fastest(pov, day) * adv, strict=True)))
    problem = _problem(rows, symbols, units, kernel, times, objective, limits)
    facts = {
        "symbols": list(symbols),
        "release": release.id,
        "regime": regime,
        "rung": rung,
        "reason": reason,
        "decay": decay,
    }
    return Desk(Task(problem, objective, vectors=True), units, facts)


def _kernel(
    model: ImpactModel, K: Array, rho: float | None, minutes: float | None, project: bool
) -> tuple[Kernel, str]:
    """The desk's decay, else the release's, and which it is in words."""
    fit = repaired if project else np.asarray
    if rho is not None:
        return Exponential(fit(K), rho=rho), f"exp(-{rho:g} t), as given"
    if model.kernel is None:
        raise UsageError(
            f"the release has no decay in regime {model.regime}: --model needs --rho",
            "decay per unit of the orders' time, say 0.1",
        )
    decay = model.kernel.slow_end()
    unit = decay.bucket_min if minutes is None else minutes
    if not 0 < unit < math.inf:
        raise UsageError(f"--minutes is {unit:g}, must be > 0", "minutes of one unit of time")
    if decay.permanent == 1:
        raise ProblemError(
            f"impact of regime {model.regime} is permanent: every schedule costs the same",
            "give --rho to assume a decay",
        )
    rhos = tuple(unit * rate for rate in decay.rates_per_min)
    words = (
        f"the release's: half-life {decay.half_life_min:.3g} min, permanent share "
        f"{decay.permanent:.2g}, a unit of time {unit:g} min"
    )
    if len(rhos) == 1:
        return Exponential(fit(decay.left(K)), rho=rhos[0]), words
    return SumOfExponentials(fit(decay.left(K)), weights=decay.weights, rhos=rhos), words


def _problem(
    rows: list[Row],
    symbols: tuple[str, ...],
    units: Array,
    kernel: Kernel,
    times: list[float] | None,
    objective: Objective,
    limits: Limits,
) -> Problem:
    n = max(row.order for row in rows) + 1
    parts = np.zeros((n, n, len(symbols)))
    for row in rows:
        parts[row.order, row.known, symbols.index(row.symbol)] += row.volume
    parts /= units
    volumes, bounds = parts.sum(axis=1), _boundaries(rows, n, times)
    if objective in ("ttsc", "myopic"):
        return ttsc(bounds, volumes, kernel, parts=parts, limits=limits)
    return hybrid(bounds, volumes, kernel, parts, limits=limits)


def _fastest(pov: float, day: float | None) -> float:
    """Largest rate, in ADV per unit of time."""
    if day is None or not 0 < day < math.inf:
        raise UsageError(f"--pov needs --day, the length of a day in the orders' time, not {day}")
    if not 0 < pov <= 1:
        raise ProblemError(f"pov is {pov:g}, must be > 0 and at most 1")
    return pov / day


def _check_room(rows: list[Row], times: list[float] | None, fastest: dict[str, float]) -> None:
    """Volumes against what the rates leave room for, in USD; without blocks there is no more."""
    spans = np.diff(_boundaries(rows, max(row.order for row in rows) + 1, times))
    asked: dict[tuple[int, str], float] = {}
    for row in rows:
        key = row.order, row.symbol
        asked[key] = asked.get(key, 0.0) + row.volume
    for (order, symbol), volume in asked.items():
        room = fastest[symbol] * spans[order] if order < len(spans) else math.inf
        if abs(volume) > room * (1 + 1e-9):
            raise Inadmissible(
                f"order {order} of {symbol} is {abs(volume):,.0f} USD, the share of volume leaves "
                f"room for {room:,.0f}",
                "raise --pov, lengthen the horizon, or allow blocks",
            )


def _places(symbols: tuple[str, ...], model: ImpactModel) -> Index:
    missing = [symbol for symbol in symbols if symbol not in set(model.symbols)]
    if missing:
        raise ProblemError(
            f"the model of regime {model.regime} does not know {', '.join(missing[:5])}",
            f"it has {model.n} symbols, {model.symbols[0]} among them",
        )
    return Alignment.between(model.symbols, symbols).source


def _boundaries(rows: list[Row], n: int, times: list[float] | None) -> Array:
    """Shape (n+1,): the given ones, or those the rows agree on."""
    if times is not None:
        return np.array(times, dtype=np.float64)
    spans: dict[int, tuple[float, float]] = {}
    for row in rows:
        if row.start is None or row.end is None:
            raise ProblemError(
                f"order {row.order} has no start and end", "add the columns, or give --times"
            )
        span = spans.setdefault(row.order, (row.start, row.end))
        if span != (row.start, row.end):
            raise ProblemError(
                f"order {row.order} runs from {span[0]:g} to {span[1]:g} in one row and from "
                f"{row.start:g} to {row.end:g} in another"
            )
    for order in range(1, n):
        if spans[order][0] != spans[order - 1][1]:
            raise ProblemError(
                f"order {order} starts at {spans[order][0]:g}, order {order - 1} ends at "
                f"{spans[order - 1][1]:g}: must be equal",
                "a sequence has neither gaps nor overlaps",
            )
    return np.array([spans[0][0], *(spans[order][1] for order in range(n))])


def _read(path: Path) -> list[Row]:
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            names = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            lines = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} is not a readable CSV file: {error}") from error
    missing = [name for name in COLUMNS if name not in names]
    unknown = [name for name in names if name not in COLUMNS + MORE]
    if missing or unknown or not lines:
        wrong = f"lacks {missing}" if missing else f"has {unknown}" if unknown else "has no rows"
        raise UsageError(f"{path} {wrong}", f"columns {', '.join(COLUMNS)}[, {', '.join(MORE)}]")
    rows = [_row(number, line) for number, line in enumerate(lines, start=2)]
    _check_orders(rows)
    return rows


def _row(number: int, line: dict[str, Any]) -> Row:
    def value(name: str) -> float | None:
        text = (line.get(name) or "").strip()
        try:
            result = float(text) if text else None
        except ValueError as error:
            raise ProblemError(f"line {number}: {name} is {text!r}, must be a number") from error
        if result is not None and not math.isfinite(result):
            raise ProblemError(f"line {number}: {name} is {text}, must be finite")
        return result

    order, volume, known = value("order"), value("volume"), value("known") or 0.0
    if order is None or order < 0 or order != int(order):
        raise ProblemError(f"line {number}: order is {order}, must be 0, 1, 2, ...")
    if volume is None:
        raise ProblemError(f"line {number}: volume is missing")
    if not (0 <= known <= order and known == int(known)):
        raise ProblemError(f"line {number}: known is {known:g}, must be 0 to {order:g}, its order")
    symbol = (line["symbol"] or "").strip()
    return Row(int(order), symbol, volume, value("start"), value("end"), int(known))


def _check_orders(rows: list[Row]) -> None:
    seen: set[tuple[int, str, int]] = set()
    for row in rows:
        key = row.order, row.symbol, row.known
        if key in seen:
            raise ProblemError(f"order {row.order} lists {row.symbol} twice", "sum the rows")
        seen.add(key)
    orders = {row.order for row in rows}
    for order in range(len(orders)):
        if order not in orders:
            raise ProblemError(f"order {order} has no row, order {max(orders)} has")
