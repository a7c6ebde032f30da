"""Two models of disjoint days, each the other's judge: the halves of a release's window.

A half is fitted as a refit does it, but for the walk-forward: who answers per regime the release
has decided on all of its days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from threadpoolctl import threadpool_limits

from crossimpact.errors import EstimationError
from crossimpact.estimate.guardrail_levels import levels
from crossimpact.estimate.opening import open_window
from crossimpact.estimate.over_time import decay_of, first_look, with_kernel
from crossimpact.estimate.rungs import estimate
from crossimpact.estimate.self_impact import Loss
from crossimpact.estimate.weighted_rows import History, held
from crossimpact.ladder import RUNGS, Rung
from crossimpact.model import ImpactModel, Transform
from crossimpact.panel import MIN_BUCKETS, REGIMES, Panel
from crossimpact.release.bundle import Release
from crossimpact.release.content import Policy, Window
from crossimpact.release.policy import DEFAULT, RefitPolicy

#: Days a half needs: below, errors of a fit are no errors.
MIN_DAYS = 4


@dataclass(frozen=True)
class Half:
    """A release fitted on these dates alone."""

    dates: tuple[str, ...]
    release: Release


def split(dates: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The dates of odd and of even ISO weeks; by turns where either are under a third, or too few.

    Raises
    ------
    EstimationError
        When either half has fewer than `MIN_DAYS` dates.
    """
    odd = tuple(day for day in dates if date.fromisoformat(day).isocalendar().week % 2)
    even = tuple(day for day in dates if day not in odd)
    if min(len(odd), len(even)) < max(len(dates) / 3, MIN_DAYS):
        odd, even = tuple(dates[::2]), tuple(dates[1::2])
    if min(len(odd), len(even)) < MIN_DAYS:
        raise EstimationError(
            f"{len(dates)} dates before the day make halves of {len(odd)} and {len(even)}, "
            f"{MIN_DAYS} each are needed",
            "refit on a longer window",
        )
    return odd, even


def fitted(
    panel: Panel,
    release: Release,
    loss: Loss = "huber",
    moments: Callable[[Transform], History] | None = None,
    policy: RefitPolicy = DEFAULT.refit,
) -> Half:
    """The release again, from the dates of a panel.

    Raises
    ------
    EstimationError
        When no regime can be fitted on them.
    """
    dates = tuple(str(day) for day in np.unique(panel.date))
    with threadpool_limits(limits=1):  # the same digits whatever the machine's cores
        ladders = ladders_of(panel, loss, moments, policy)
    if not ladders:
        raise EstimationError(
            f"no regime could be fitted on {dates[0]} to {dates[-1]}", "refit on a longer window"
        )
    rung = {regime: _rung(release, regime, ladder) for regime, ladder in ladders.items()}
    models = {regime: ladder[rung[regime]] for regime, ladder in ladders.items()}
    minutes = release.bucket_s / 60
    return Half(
        dates,
        replace(
            release,
            window=Window(dates[0], dates[-1], len(dates)),
            models=models,
            lower={r: _below(ladder, rung[r]) for r, ladder in ladders.items()},
            fallback={r: _answering(rule, rung.get(r)) for r, rule in release.fallback.items()},
            guardrails={
                r: levels(m, panel.on(m.symbols, m.sectors, m.adv), minutes, policy.guardrails)
                for r, m in models.items()
            },
            report={"dates": list(dates), "of": release.digest},
            held={},
        ),
    )  # fmt: skip


def ladders_of(
    panel: Panel,
    loss: Loss = "huber",
    moments: Callable[[Transform], History] | None = None,
    policy: RefitPolicy = DEFAULT.refit,
) -> dict[str, dict[str, ImpactModel]]:
    """Per regime that can be fitted the models of all rungs, with its kernel."""
    panel, _ = panel.plausible()
    carried = first_look(panel, loss=loss, moments=moments, policy=policy)
    net = carried.net(panel)
    stored = moments if moments is not None and not carried.fades else held(net)
    found: dict[str, dict[str, ImpactModel]] = {}
    for regime in REGIMES:
        if int((net.regime == regime).sum()) < MIN_BUCKETS:
            continue
        try:
            window = open_window(net, regime, loss, stored, policy)
            found[regime] = estimate(window, len(window.blocks)).ladder
        except EstimationError:
            continue
    decay = decay_of(panel, {regime: ladder["full"] for regime, ladder in found.items()})
    return {r: with_kernel(ladder, decay.decays.get(r))[0] for r, ladder in found.items()}


def _rung(release: Release, regime: str, ladder: Mapping[str, ImpactModel]) -> Rung:
    """As the release answers, held where it is held; own impact where it has no such regime."""
    rung = release.model_for(regime).rung if regime in release.fallback else "self_only"
    return rung if rung in ladder else "self_only"


def _below(ladder: Mapping[str, ImpactModel], rung: Rung) -> dict[str, ImpactModel]:
    lower = RUNGS[RUNGS.index(rung) + 1 :]
    return {name: ladder[name] for name in lower if name in ladder}


def _answering(policy: Policy, rung: Rung | None) -> Policy:
    if rung is None:
        return replace(policy, rung="fixed_pov", reason="too few buckets in this half")
    return replace(policy, rung=rung)
