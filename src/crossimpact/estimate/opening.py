"""Opening a window: the shape of its flows, its rows by block, what fills pay of what mids keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from crossimpact.errors import EstimationError
from crossimpact.estimate import weighted_rows
from crossimpact.estimate.fill_ratio import FillRatio, cross_ratio, own_ratio, pooled
from crossimpact.estimate.self_impact import Loss, SelfFit, fit_self
from crossimpact.estimate.walk_forward import Candidate, date_blocks, walk_forward
from crossimpact.estimate.weighted_rows import History
from crossimpact.estimate.window import Window, cross_on, model_of
from crossimpact.model import Array, ImpactModel, Transform, from_scaled
from crossimpact.panel import REGIMES, Panel
from crossimpact.release.policy import DEFAULT, RefitPolicy
from crossimpact.response import MOVES

CONCAVE_SE = 1.0  # standard errors by which square-root flow must beat linear: a tie is linear's


def open_window(
    panel: Panel,
    regime: str,
    loss: Loss,
    moments: Callable[[Transform], History],
    policy: RefitPolicy = DEFAULT.refit,
) -> Window:
    """A regime's window: its blocks of dates, its flow transform, its moments by block."""
    size = {label: int((panel.regime == label).sum()) for label in REGIMES}
    largest = max(size, key=lambda label: size[label])
    lead = largest if size[largest] > size[regime] else None
    blocks = date_blocks([str(date) for date in np.unique(panel.date[panel.regime == regime])])
    transform, reference = _choose_flow(panel.of_regime(regime), blocks, loss)
    days = partial(moments, transform)
    sums = weighted_rows.blocks(
        days(), [b[-1] for b in blocks], [regime, lead] if lead else [regime]
    )
    window = Window(panel, regime, lead, blocks, loss, transform, reference, sums, days, policy)
    return window.paying(_fill_ratios(window))


def _fill_ratios(window: Window) -> dict[str, FillRatio]:
    """What fills pay of what mids keep, per regime: of own impact first; of cross impact from what
    is found of it with the own ratio in its place."""
    regimes, blocks = [r for r in (window.lead, window.regime) if r], len(window.blocks)
    parts = {regime: window.part(regime, blocks) for regime in regimes}
    own = pooled({regime: own_ratio(part) for regime, part in parts.items()})
    first = window.paying({regime: FillRatio(own[regime], own[regime]) for regime in regimes})
    moved = {regime: _cross_moves(first, regime, blocks) for regime in regimes}
    beside = min(own.values(), key=lambda ratio: ratio.se)
    cross = pooled({r: cross_ratio(parts[r], moved[r]) for r in regimes}, beside)
    own = pooled({r: own_ratio(parts[r], moved[r], cross[r].value) for r in regimes})
    return {regime: FillRatio(own[regime], cross[regime]) for regime in regimes}


def _cross_moves(window: Window, regime: str, blocks: int) -> Array:
    """Cross moves of the regime's buckets as found on so many blocks; zero when nothing can be."""
    panel = window.part(regime, blocks)
    try:
        scaled = cross_on(window, regime, blocks, None)[1].scaled
    except EstimationError:
        return np.zeros_like(panel.q)
    return np.asarray(panel.q @ from_scaled(scaled, panel.adv).T)


def _choose_flow(
    panel: Panel, blocks: Sequence[Sequence[str]], loss: Loss
) -> tuple[Transform, Array | None]:
    """Square-root flow when own flow alone predicts later days better by it, else linear."""
    reference = panel.typical_flow()
    if not (reference > 0).any():
        return "linear", None
    reference = np.where(reference > 0, reference, np.median(reference[reference > 0]))

    def own_only(train: int) -> dict[str, Candidate]:
        rows = panel.where(panel.date <= blocks[train - 1][-1])
        try:
            linear = fit_self(rows, response=MOVES, loss=loss, origin=True)
            concave = fit_self(rows.shaped(reference), response=MOVES, loss=loss, origin=True)
        except EstimationError:
            return {}
        return {
            "self_only": Candidate(_own_model(rows, linear, None)),
            "sqrt": Candidate(_own_model(rows, concave, reference)),
        }

    scores, steps = walk_forward(panel, MOVES, blocks, own_only)
    if not steps:
        return "linear", None
    gain, se = scores["sqrt"].gain_over(scores["self_only"])
    return ("sqrt", reference) if gain > CONCAVE_SE * se else ("linear", None)


def _own_model(panel: Panel, own: SelfFit, reference: Array | None) -> ImpactModel:
    zero = np.zeros((panel.n, panel.n))
    return model_of(panel, "", own, zero, zero, reference, {})
