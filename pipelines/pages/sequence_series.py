"""What figures of orders in sequence draw: schedules compared, or scenarios, under one colour each.

What is decided before a scenario is known is drawn in ink.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import EngFormatter

from crossimpact.policy.sequential.compare import Comparison
from crossimpact.policy.sequential.contingent import Contingent
from crossimpact.policy.sequential.plan import Plan
from crossimpact.policy.sequential.problem import at_start
from pipelines.pages.plots import INK
from pipelines.pages.sequence_text import DUST, ordinal

Answer = Plan | Contingent | Comparison

#: Panels of assets, and scenarios, that a reader can follow.
MAX_ASSETS = 12
MAX_SCENARIOS = 6
COLOURS = ("#4477aa", "#d1495b", "#8e4585", "#b8a528", "#5ab4d6", "#6b7280")
SCHEDULES = {
    "myopic": ("Myopic", "#6b7280"),
    "ttsc": ("TTSC-optimal", "#d1495b"),
    "tthc": ("TTHC-optimal", "#4477aa"),
    "deterministic": ("Deterministic", "#8e4585"),
}
#: Numbers from here on are written as 10k.
LONG = 1e4
_NAME = 22  # letters of a name in a figure


@dataclass(frozen=True)
class Trace:
    """A schedule to draw; its first `shared` orders are the same in other scenarios too."""

    label: str
    colour: str
    plan: Plan
    shared: int = 0

    def colour_of(self, order: int) -> str:
        return INK if order < self.shared else self.colour


def traces(answer: Answer) -> list[Trace]:
    """What there is to draw: the schedules compared, or at most `MAX_SCENARIOS` scenarios."""
    if isinstance(answer, Plan):
        return [Trace("", COLOURS[0], answer)]
    if isinstance(answer, Contingent):
        return _scenarios(answer)
    same = known_at_start(answer)
    names = [name for name in answer.plans if not (same and name == "deterministic")]
    return [Trace(*SCHEDULES[name], answer.plans[name]) for name in names]


def known_at_start(comparison: Comparison) -> bool:
    """Whether the hybrid schedule is the deterministic one."""
    problem = comparison.plans["tthc"].problem
    return bool(np.array_equal(problem.parts, at_start(problem.volumes)))


def _scenarios(tree: Contingent) -> list[Trace]:
    """Scenarios that stand for equal parts of the probability, in the order of their volumes."""
    last = np.array([plan.problem.volumes[-1].sum() for plan in tree.plans])
    order = np.argsort(last, kind="stable")
    count = min(MAX_SCENARIOS, len(order))
    middle = (np.arange(count) + 0.5) / count
    reached = np.searchsorted(np.cumsum(tree.probabilities[order]), middle)
    every = count == len(order)
    chosen = order if every else order[np.unique(reached)]
    alone = [np.count_nonzero(tree.nodes == tree.nodes[i], axis=0) == 1 for i in chosen]
    return [
        Trace(
            (f"{100 * tree.probabilities[i]:.3g}%: " if every else "") + _outcome(tree.plans[i], i),
            colour,
            tree.plans[i],
            int(np.argmax(own)) if own.any() else len(own),
        )
        for i, own, colour in zip(chosen, alone, COLOURS, strict=False)
    ]


def _outcome(plan: Plan, scenario: int) -> str:
    """What the last order turned out to be."""
    last = plan.problem.volumes[-1]
    if len(last) > 1:
        return f"scenario {scenario}"
    return f"{ordinal(plan.problem.orders - 1)} order {number(last[0])}"


def largest(plans: Iterable[Plan], count: int = MAX_ASSETS) -> list[int]:
    """The assets of the largest volumes, largest first."""
    sizes = np.sum([np.abs(plan.problem.volumes).sum(axis=0) for plan in plans], axis=0)
    return [int(i) for i in np.argsort(-sizes, kind="stable")[:count]]


def blocks_of(plan: Plan, order: int, asset: int) -> list[tuple[float, float]]:
    """`Plan.blocks` without dust."""
    least = DUST * np.abs(plan.problem.volumes[:, asset]).max()
    return [(t, volume) for t, volume in plan.blocks(order, asset) if abs(volume) >= least]


def rates_of(plan: Plan, order: int, asset: int) -> list[tuple[float, float, float]]:
    """`Plan.rates` without dust."""
    least = DUST * np.abs(plan.problem.volumes[:, asset]).max() / horizon(plan)
    return [piece for piece in plan.rates(order, asset) if abs(piece[2]) >= least]


def horizon(plan: Plan) -> float:
    """From the first boundary to the last."""
    return float(plan.problem.times[-1] - plan.problem.times[0])


# -- numbers and names ---------------------------------------------------------------------------


def number(value: float) -> str:
    """Three digits, thousands as k, M, G."""
    if abs(value) >= LONG:
        return EngFormatter(places=1, sep="").format_eng(value).replace("-", "\N{MINUS SIGN}")
    text = f"{value:,.0f}" if abs(value) >= 1e3 else f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


def short(name: str) -> str:
    """A name that fits a panel."""
    return name if len(name) <= _NAME else name[: _NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"
