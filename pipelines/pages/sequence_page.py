"""The page of a sequence of orders: one HTML file that needs no network, and its figures as files.

It says the problem in words, what every schedule costs under every metric, and who answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from crossimpact.atomic import write_atomic
from crossimpact.model import Array
from crossimpact.policy.sequential.compare import Comparison, back_loading, understatement
from crossimpact.policy.sequential.contingent import Contingent, kkt_residual
from crossimpact.policy.sequential.plan import Plan
from crossimpact.policy.sequential.problem import Problem
from crossimpact.policy.sequential.risk import Risk
from pipelines.pages import sequence_costs as costs
from pipelines.pages import sequence_figures as figures
from pipelines.pages.reports import render
from pipelines.pages.sequence_series import (
    SCHEDULES,
    Answer,
    Trace,
    blocks_of,
    largest,
    rates_of,
    traces,
)
from pipelines.pages.sequence_text import (
    benchmark_in_words,
    kernel_in_words,
    limits_in_words,
    ordinal,
    precise,
    rates_in_words,
    small,
)

#: Who answered, by `Plan.method`.
METHODS = {
    "closed": "closed form, or one scalar root",
    "grid": "convex program in state form on a grid, active-set finish",
    "kernel_qp": "quadratic program with exact kernel averages, active-set finish",
    "discretion": "one program for all who may trade in a period, exact kernel averages",
    "tree": "one convex program over the scenario tree",
    "myopic": "each order scheduled by itself",
}
#: A value of the stochastic solution below this share of the cost is none.
ROUNDING = 1e-9
Row = dict[str, Any]


def write(
    answer: Answer,
    folder: Path,
    *,
    symbols: Sequence[str] = (),
    units: ArrayLike | None = None,
    currency: str = "",
    vss: float | None = None,
    facts: Mapping[str, str] | None = None,
) -> tuple[Path, ...]:
    """Write `index.html` and its figures as PNG files; return their paths, the page first.

    Parameters
    ----------
    answer
        A plan, plans per scenario, or a comparison of schedules of one problem.
    folder
        Made when it is not there.
    symbols
        Names of the assets; default: numbers.
    units
        What one unit of the plan's volumes is, shape (M,); default: 1.
    currency
        What volumes and costs then are. When given, price moves are relative and shown in bps.
    vss
        Value of the stochastic solution.
    facts
        More lines on where the kernel is from, name -> text.
    """
    answer = in_units(answer, units)
    if vss is not None and not isinstance(answer, Comparison):
        vss *= abs(vss) > ROUNDING * abs(answer.cost)
    drawn = traces(answer)
    names = list(symbols) or [f"asset {i}" for i in range(drawn[0].plan.problem.assets)]
    drawings = _drawings(answer, drawn, names, relative=bool(currency))
    svgs = {name: Markup(drawing.svg) for name, drawing in drawings.items()}  # noqa: S704 (escaped)
    page = folder / "index.html"
    content = _content(answer, drawn, names) | {"currency": currency, "vss": vss}
    write_atomic(page, render("sequence.html.j2", figures=svgs, facts=facts or {}, **content))
    pictures = {folder / f"{name}.png": drawing.png for name, drawing in drawings.items()}
    for path, png in pictures.items():
        path.write_bytes(png)
    return (page, *pictures)


def in_units(answer: Answer, units: ArrayLike | None) -> Answer:
    """The same answer with volumes times `units`, shape (M,), and price moves over them."""
    if units is None:
        return answer
    u = np.asarray(units, dtype=np.float64)
    if isinstance(answer, Plan):
        return _plan_in(answer, u)
    if isinstance(answer, Contingent):
        return replace(answer, plans=tuple(_plan_in(plan, u) for plan in answer.plans))
    plans = {name: _plan_in(plan, u) for name, plan in answer.plans.items()}
    return replace(answer, plans=plans)


def _plan_in(plan: Plan, units: Array) -> Plan:
    problem, limits = plan.problem, plan.problem.limits
    capped: dict[str, Any] = {
        name: None if value is None else np.asarray(value) * units
        for name, value in (("block_cap", limits.block_cap), ("max_rate", limits.max_rate))
    }
    risk = problem.risk
    scaled = Problem(
        problem.times,
        problem.volumes * units,
        replace(problem.kernel, K=problem.kernel.K / np.outer(units, units)),
        problem.benchmark * units,
        problem.parts * units,
        problem.monotone,
        replace(limits, spread=np.asarray(limits.spread) / units, **capped),
        risk and Risk(risk.aversion, risk.covariance / np.outer(units, units)),
        problem.discretion,
    )
    return replace(plan, problem=scaled, volumes=plan.volumes * units)


def _drawings(
    answer: Answer, drawn: Sequence[Trace], names: Sequence[str], *, relative: bool
) -> dict[str, figures.Drawing]:
    drawings = {
        "schedules": figures.schedules(drawn, names, "Schedules: blocks and rates over time"),
        "impact": figures.impact(
            drawn, names, "Price moves of the schedules over time", relative=relative
        ),
    }
    if rows := costs.bars(answer):
        drawings["costs"] = costs.costs(rows, "Costs of the schedules under each metric")
    return drawings


# -- content -------------------------------------------------------------------------------------


def _content(answer: Answer, drawn: Sequence[Trace], names: Sequence[str]) -> Row:
    """Everything the page says, as plain data."""
    problem = drawn[0].plan.problem
    shown = largest(trace.plan for trace in drawn)
    tree = answer if isinstance(answer, Contingent) else None
    return {
        "kind": type(answer).__name__,
        "problem": problem,
        "assets": [(i, names[i]) for i in shown],
        "left_out": problem.assets - len(shown),
        "scenarios": len(tree.plans) if tree else 0,
        "answer": None if isinstance(answer, Comparison) else answer,
        "best": answer.plans["tthc"] if isinstance(answer, Comparison) else None,
        "warning": _warning(answer, names) if isinstance(answer, Comparison) else "",
        "bars": costs.bars(answer),
        "rows": _table(answer) if isinstance(answer, Comparison) else [],
        "schedule": [row for t in _traded(answer, drawn) for row in _schedule(t, shown, names)],
        "kernel": kernel_in_words(problem.kernel),
        "benchmark": benchmark_in_words(problem, answer),
        "limits": limits_in_words(problem.limits, problem.monotone),
        "solvers": _solvers(answer),
        "volumes": problem.volumes if tree is None else _mean_volumes(tree),
        "ordinal": ordinal,
        "num": precise,
        "small": small,
    }


def _traded(answer: Answer, drawn: Sequence[Trace]) -> Sequence[Trace]:
    """Of a comparison of many assets only the best schedule is listed."""
    if not isinstance(answer, Comparison) or drawn[0].plan.problem.assets == 1:
        return drawn
    return [trace for trace in drawn if trace.plan is answer.plans["tthc"]]


def _mean_volumes(tree: Contingent) -> Array:
    return tree.mean([plan.problem.volumes for plan in tree.plans])


def _table(comparison: Comparison) -> list[Row]:
    """The comparison, the deterministic schedule left out where it is the hybrid one."""
    shown = {trace.plan for trace in traces(comparison)}
    rows = [row for row in comparison.rows if comparison.plans[row.name] in shown]
    return [
        {
            "name": SCHEDULES[row.name][0],
            "colour": SCHEDULES[row.name][1],
            "ttsc": row.ttsc,
            "tthc": row.tthc,
            "full": row.full,
            "excess": row.excess,
            "unseen": 1 - row.ttsc / row.tthc if row.tthc > 0 else float("nan"),
            "loads": _mean_loads(comparison.plans[row.name]),
        }
        for row in rows
    ]


def _mean_loads(plan: Plan) -> list[float]:
    """Mean trading time of each order in its horizon, assets weighted by what they cost alone."""
    sizes = _alone(plan)
    total = sizes.sum(axis=1)
    mean = (back_loading(plan) * sizes).sum(axis=1) / np.where(total > 0, total, np.nan)
    return [float(load) for load in mean]


def _alone(plan: Plan) -> Array:
    """What each order of each asset would cost at once, by itself, shape (N, M)."""
    return np.asarray(plan.problem.volumes**2 * np.diagonal(plan.problem.kernel.K))


def _warning(comparison: Comparison, names: Sequence[str]) -> str:
    """The comparison's own warning, told with the desk's names."""
    if not comparison.warning:
        return ""
    plan, best = comparison.plans["ttsc"], comparison.plans["tthc"]
    loads = back_loading(plan)[:-1]
    late = (loads - 0.5) * _alone(plan)[:-1]
    order, asset = (int(i) for i in np.unravel_index(int(np.argmax(late)), late.shape))
    what = f"{ordinal(order)} order" + f" of {names[asset]}" * (len(names) > 1)
    hidden = (
        f"{understatement(plan):.0%} of its cost is hidden in the prices the later orders are held "
        "against"
        if plan.ttsc >= 0
        else "a gain that is nothing but the prices the later orders are held against"
    )
    return (
        f"Separate costs show {precise(plan.ttsc)} where the schedule costs {precise(plan.tthc)}: "
        f"{hidden}. The best schedule costs {precise(best.tthc)}. The {what} is back-loaded: its "
        f"mean trade is at {loads[order, asset]:.0%} of its horizon, 50% by itself."
    )


def _schedule(trace: Trace, assets: Iterable[int], names: Sequence[str]) -> list[Row]:
    """Per order and asset: first block, rates, last block."""
    rows = []
    for asset in assets:
        for order in range(trace.plan.problem.orders):
            blocks = dict.fromkeys(("first", "last"), 0.0)
            start, end = trace.plan.problem.times[order : order + 2]
            others = []
            for t, volume in blocks_of(trace.plan, order, asset):
                if t in (start, end):
                    blocks["first" if t == start else "last"] += volume
                else:
                    others.append(f"{precise(volume)} at {t:.4g}")
            rates = rates_in_words(rates_of(trace.plan, order, asset))
            between = [f"blocks {', '.join(others)}"] * bool(others)
            between += [rates] * (rates != "none" or not others)
            rows.append(
                {
                    "schedule": trace.label,
                    "colour": trace.colour_of(order),
                    "asset": names[asset],
                    "order": ordinal(order),
                    "rates": "; ".join(between),
                    **blocks,
                }
            )
    return rows


def _solvers(answer: Answer) -> list[Row]:
    """Who answered, and how far from optimal: exact schedules are judged in continuous time."""
    labels: dict[str, Plan | Contingent] = (
        {trace.label: trace.plan for trace in traces(answer)}
        if isinstance(answer, Comparison)
        else {"Schedule": answer}
    )
    return [
        {"name": name, "method": METHODS.get(plan.method, plan.method), "residual": _residual(plan)}
        for name, plan in labels.items()
    ]


def _residual(plan: Plan | Contingent) -> float | None:
    """None for a schedule that claims no optimality."""
    if plan.method == "myopic":
        return None
    return kkt_residual(plan) if plan.method == "closed" else plan.residual
