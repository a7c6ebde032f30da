"""What would change if a challenger became champion: who answers, which pairs, at what price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crossimpact.errors import CrossImpactError, EstimationError
from crossimpact.model import ImpactModel
from crossimpact.panel import Panel
from crossimpact.release import ledger
from crossimpact.release.bundle import ID_LENGTH, UNKNOWN, Answer, Release
from crossimpact.release.ledger import Entry
from pipelines import features, plan
from pipelines.release import book, promoted, resolve
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

#: Last dates of the challenger's window whose flow both are asked to price.
RECENT = 5
Pairs = Mapping[tuple[str, str], bool]


@dataclass(frozen=True)
class Change:
    """One regime, champion against challenger.

    Attributes
    ----------
    rungs
        Who answers, before and after; a demotion in force counts.
    gained, lost, turned
        Pairs that only the challenger has, only the champion, and those whose sign differs.
    kept
        Pairs that both have with the same sign.
    gains
        Out of sample, R2 added to self only (fraction), before and after; None where not measured.
    cross_usd
        What either says the pairs cost the flow of the last dates; None where nobody knows.
    """

    regime: str
    rungs: tuple[str, str]
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    turned: tuple[str, ...]
    kept: int
    gains: tuple[float | None, float | None]
    cross_usd: tuple[float | None, float | None]


@dataclass(frozen=True)
class Comparison:
    """A challenger against the champion, regime by regime; empty, with a note, without one.

    `drift` is the champion's last published verdict, with its date; `dates` are those priced.
    """

    champion: str
    changes: tuple[Change, ...] = ()
    dates: tuple[str, ...] = ()
    drift: str = ""
    note: str = ""


def compare(settings: Settings, challenger: str) -> Comparison:
    """The release `challenger` against the champion in force."""
    lines = book(settings)
    live = ledger.standing(lines)
    if live is None:
        return Comparison("", note="there is no champion yet")
    new, _ = resolve(settings, challenger)
    try:
        old = replace(promoted(settings, live.digest), held=live.held)
    except CrossImpactError as error:
        return Comparison(live.digest[:ID_LENGTH], note=f"the champion cannot be read: {error}")
    dates, panel = _recent(plan.matching(settings, new), new)
    regimes = sorted({*old.fallback, *new.fallback} - {UNKNOWN})
    changes = tuple(change(regime, old, new, panel) for regime in regimes)
    return Comparison(old.id, changes, dates, last_drift(lines, live.digest))


def change(regime: str, old: Release, new: Release, panel: Panel | None) -> Change:
    """How the answer for a regime changes."""
    before, after = old.model_for(regime), new.model_for(regime)
    had, has = coupled(before.model), coupled(after.model)
    both = had.keys() & has.keys()
    turned = {pair for pair in both if had[pair] != has[pair]}
    return Change(
        regime,
        rungs=(before.rung, after.rung),
        gained=_names(has.keys() - had.keys()),
        lost=_names(had.keys() - has.keys()),
        turned=_names(turned),
        kept=len(both - turned),
        gains=(_gain(old, before, regime), _gain(new, after, regime)),
        cross_usd=(cross_usd(before.model, panel, regime), cross_usd(after.model, panel, regime)),
    )


def coupled(model: ImpactModel | None) -> Pairs:
    """Unordered pairs with a gamma, and whether that costs more together."""
    if model is None:
        return {}
    both = model.scaled + model.scaled.T
    rows = zip(*np.nonzero(np.triu(both, 1)), strict=True)
    named = {_pair(model.symbols[i], model.symbols[j]): bool(both[i, j] > 0) for i, j in rows}
    return dict(sorted(named.items()))


def cross_usd(model: ImpactModel | None, panel: Panel | None, regime: str) -> float | None:
    """What the model says its pairs cost the panel's flow in that regime, USD, positive = worse."""
    if model is None or panel is None:
        return None
    flow = panel.on(model.symbols, model.sectors, model.adv).of_regime(regime).q
    return float(model.cost(flow).cross.sum())


def last_drift(lines: Sequence[Entry], digest: str) -> str:
    """The last weekly verdict over a release, as the ledger has it; empty when there is none."""
    reasons = [entry.why for entry in lines if entry.action == "drift" and entry.new == digest]
    return reasons[-1] if reasons else ""


def _recent(settings: Settings, new: Release) -> tuple[tuple[str, ...], Panel | None]:
    """The last dates of the challenger's window that this home has features of."""
    built = Warehouse(settings).dates(settings.feature_layer, "buckets")
    first, last = new.window.first, new.window.last
    dates: Sequence[str] = [date for date in built if first <= date <= last][-RECENT:]
    try:
        return tuple(dates), features.load_panel(settings, dates) if dates else None
    except EstimationError:
        return (), None


def _gain(release: Release, answer: Answer, regime: str) -> float | None:
    """What the release measured of what answers; nothing of a rung it was demoted to."""
    if regime not in release.fallback or answer.rung != release.fallback[regime].rung:
        return None
    value: Any = release.report.get("metrics", {}).get(regime, {}).get("oos_gain")
    return float(value) if isinstance(value, int | float) and answer.model is not None else None


def _pair(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)


def _names(pairs: set[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(f"{a}/{b}" for a, b in sorted(pairs))
