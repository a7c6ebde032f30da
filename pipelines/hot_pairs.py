"""Pairs that cost most date after date, as one release sees the last dates' flow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crossimpact.model import ImpactModel
from crossimpact.panel import Panel
from crossimpact.release.bundle import Release
from pipelines.calibration import answering

TOP = 20


@dataclass(frozen=True)
class HotPair:
    """On how many of the dates a pair was among the `TOP` by what trading both in the same bucket
    cost or gave, all regimes together."""

    symbol_i: str
    symbol_j: str
    days_in_top20: int
    days_seen: int


def hot_pairs(release: Release, panel: Panel | None, dates: Sequence[str]) -> list[HotPair]:
    """The pairs that were among the top on any of the dates, priced by the release; `panel` is
    `calibration.recent` of the dates."""
    if panel is None:
        return []
    models = answering(release)
    counts = Counter(pair for date in dates for pair in _top(panel, models, date))
    return [HotPair(*pair, n, len(dates)) for pair, n in sorted(counts.items())]


def _top(panel: Panel, models: Mapping[str, ImpactModel], date: str) -> Iterator[tuple[str, str]]:
    here = panel.where(panel.date == date)
    cost = np.zeros((panel.n, panel.n))
    for regime, model in models.items():
        cost += model.pair_cost(here.q[here.regime == regime])
    both = np.abs(np.triu(cost + cost.T, 1))
    for place in np.argsort(-both, axis=None, kind="stable")[:TOP]:
        i, j = np.unravel_index(place, both.shape)
        if both[i, j]:
            yield panel.symbols[i], panel.symbols[j]
