"""A sequence problem in words, and its numbers as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crossimpact.model import Array
from crossimpact.policy.sequential.compare import Comparison
from crossimpact.policy.sequential.contingent import Contingent
from crossimpact.policy.sequential.kernel import (
    Exponential,
    ExponentialByAsset,
    Kernel,
    PowerLaw,
    SumOfExponentials,
)
from crossimpact.policy.sequential.limits import Limits
from crossimpact.policy.sequential.plan import Plan
from crossimpact.policy.sequential.problem import Problem, at_arrival, at_start

#: Rates of an order listed one by one; more are said as a range.
MAX_RATES = 5
#: Pieces below this share of an asset's largest order are a solver's dust.
DUST = 1e-6
#: Rates that differ by less than this share read the same.
ALIKE = 1e-3


def kernel_in_words(kernel: Kernel) -> str:
    """How impact decays, and its size."""
    K = kernel.K
    if len(K) == 1:
        size = f"{precise(K[0, 0])} per unit traded at once"
    else:
        pairs = np.count_nonzero(np.triu(K, 1))
        size = f"a matrix of {len(K)} assets, {pairs} pairs coupled"
    if isinstance(kernel, Exponential):
        half = np.log(2) / kernel.rho
        decay = f"exp(\N{MINUS SIGN}{kernel.rho:g} t), a half-life of {half:.3g}"
    elif isinstance(kernel, PowerLaw):
        time = "t" if kernel.tau == 1 else f"t / {kernel.tau:g}"
        decay = f"(1 + {time})^\N{MINUS SIGN}{kernel.gamma:g}"
    elif isinstance(kernel, SumOfExponentials):
        terms = zip(kernel.weights, kernel.rhos, strict=True)
        decay = " + ".join(f"{w:g} exp(\N{MINUS SIGN}{rho:g} t)" for w, rho in terms)
    elif isinstance(kernel, ExponentialByAsset):
        rhos = ", ".join(f"{rho:g}" for rho in kernel.rhos)
        decay = f"exp(\N{MINUS SIGN}rho t), rho by asset {rhos}"
    else:
        decay = "a given convex function"
    return f"{size}, decaying as {decay}"


def benchmark_in_words(problem: Problem, answer: Plan | Contingent | Comparison) -> str:
    """What the stated objective holds orders against."""
    if isinstance(answer, Comparison):
        return "each schedule under every metric; TTHC: " + _parts(problem.parts, problem)
    if isinstance(answer, Contingent):
        problems = [plan.problem for plan in answer.plans]
        if not all(np.array_equal(p.benchmark, at_arrival(p.volumes)) for p in problems):
            return "every part against the price when it became known, a revision at its arrival"
    return _parts(problem.benchmark, problem)


def _parts(benchmark: Array, problem: Problem) -> str:
    volumes = problem.volumes
    if np.array_equal(benchmark, at_start(volumes)):
        return "everything held against the price at the start"
    if np.array_equal(benchmark, at_arrival(volumes)):
        return "every order held against its own arrival price"
    held = np.abs(benchmark).sum(axis=2)
    shares = held / np.maximum(held.sum(axis=1, keepdims=True), 1e-300)
    parts = [
        ", ".join(
            f"{share:.0%} at {problem.times[k]:g}" for k, share in enumerate(row) if share > 0
        )
        for row in shares
    ]
    return "; ".join(f"{ordinal(j)} order struck {text}" for j, text in enumerate(parts))


def limits_in_words(limits: Limits, monotone: bool) -> str:
    """What the schedule may not do."""
    parts = ["every order trades one way only" if monotone else "orders may trade both ways"]
    if limits.dates is not None:
        parts.append(f"blocks at {len(np.asarray(limits.dates))} dates only")
    parts += ["no blocks"] * limits.no_blocks + ["full span"] * limits.full_span
    for name, value in (("blocks up to", limits.block_cap), ("rates up to", limits.max_rate)):
        if value is not None:
            parts.append(f"{name} {_span(np.asarray(value))}")
    if np.any(limits.spread):
        parts.append(f"a spread of {_span(np.asarray(limits.spread))} per unit traded")
    return "; ".join(parts)


def _span(values: Array) -> str:
    low, high = float(values.min()), float(values.max())
    return precise(low) if low == high else f"{precise(low)} to {precise(high)}"


def rates_in_words(rates: Sequence[tuple[float, float, float]]) -> str:
    """Up to `MAX_RATES` rates with their times, more as a range."""
    rates = _joined(rates)
    if not rates:
        return "none"
    if len(rates) <= MAX_RATES:
        return "; ".join(f"{precise(rate)} from {a:.4g} to {b:.4g}" for a, b, rate in rates)
    spread = _span(np.array([rate for _, _, rate in rates]))
    return f"{spread} in {len(rates)} steps from {rates[0][0]:.4g} to {rates[-1][1]:.4g}"


def _joined(rates: Sequence[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Neighbours that read the same as one."""
    joined: list[tuple[float, float, float]] = []
    for start, end, rate in rates:
        if joined and joined[-1][1] == start and abs(joined[-1][2] - rate) <= ALIKE * abs(rate):
            before, _, known = joined[-1]
            mean = (known * (start - before) + rate * (end - start)) / (end - before)
            joined[-1] = (before, end, mean)
        else:
            joined.append((start, end, rate))
    return joined


def precise(value: float) -> str:
    """Four decimals, fewer of large numbers, none of whole ones; a dash for nothing."""
    if value != value:
        return "\N{EN DASH}"
    size = abs(value)
    if size >= 1e4 or value == round(value):
        text = f"{value:,.0f}"
    elif size >= 100:
        text = f"{value:,.2f}"
    else:
        text = f"{value:.4f}" if size >= 0.01 else f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


def small(value: float | None) -> str:
    return "\N{EN DASH}" if value is None or value != value else f"{value:.1e}"


def schedule_in_words(
    schedule: Sequence[Mapping[str, Any]], names: Sequence[str] = ()
) -> list[dict[str, str]]:
    """Rows of `Answer.schedule` as text, one per trade: a block, or a rate over a span of time.

    Assets have the orders' own names, neighbouring rates that read the same are one, more than
    `MAX_RATES` are said as a range, and dust is left out.
    """
    largest: dict[int, float] = {}
    for row in schedule:
        pieces = [volume for _, volume in row["blocks"]]
        pieces += [rate * (end - start) for start, end, rate in row["rates"]]
        asset = row["asset"]
        largest[asset] = max(largest.get(asset, 0.0), *map(abs, pieces), 0.0)
    return [
        _named(row, names) | trade
        for row in schedule
        for trade in _trades(row, DUST * largest[row["asset"]])
    ]


def _named(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    asset = names[row["asset"]] if names else str(row["asset"])
    scenario = {} if row["scenario"] is None else {"scenario": str(row["scenario"])}
    return {"order": ordinal(row["order"]), "asset": asset, **scenario}


def _trades(row: Mapping[str, Any], least: float) -> list[dict[str, str]]:
    """Blocks and rates of an order in one asset, in the order of their times."""
    result = [
        (t, f"{t:.4g}", "block", precise(volume))
        for t, volume in row["blocks"]
        if abs(volume) > least
    ]
    rates = _joined([(a, b, rate) for a, b, rate in row["rates"] if abs(rate * (b - a)) > least])
    if len(rates) > MAX_RATES:
        (start, *_), (_, end, _) = rates[0], rates[-1]
        values = _span(np.array([rate for *_, rate in rates]))
        result.append((start, f"{start:.4g} to {end:.4g}", "rate", f"{values}, {len(rates)} steps"))
    else:
        result += [(a, f"{a:.4g} to {b:.4g}", "rate", precise(rate)) for a, b, rate in rates]
    return [{"time": time, kind: text} for _, time, kind, text in sorted(result, key=_first)]


def _first(trade: tuple[float, str, str, str]) -> tuple[float, str]:
    """By time, a block before the rate that begins with it."""
    return trade[0], trade[2]


def ordinal(order: int) -> str:
    """1st, 2nd, 3rd, 4th..., counted from 0."""
    n = order + 1
    ending = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"
