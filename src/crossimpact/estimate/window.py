"""The window of one regime, and self and cross impact on the first of its blocks of dates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from crossimpact.errors import EstimationError
from crossimpact.estimate import market_control, structural_break, weighted_rows
from crossimpact.estimate.common import Lead
from crossimpact.estimate.cross_impact import CrossFit, Start, fit_cross
from crossimpact.estimate.equations import summed
from crossimpact.estimate.fill_ratio import FillRatio, cross_ratio, own_ratio, pooled
from crossimpact.estimate.own_terms import error_left
from crossimpact.estimate.self_impact import Loss, SelfFit, fit_self
from crossimpact.estimate.structural_break import BlockScores, Break
from crossimpact.estimate.walk_forward import Candidate, date_blocks, walk_forward
from crossimpact.estimate.weighted_rows import History, Sums
from crossimpact.model import Array, ImpactModel, Transform, from_scaled
from crossimpact.panel import REGIMES, Panel
from crossimpact.release.policy import DEFAULT, RefitPolicy
from crossimpact.response import MOVES, Response

CONCAVE_SE = 1.0  # standard errors by which square-root flow must beat linear: a tie is linear's


@dataclass(frozen=True)
class Window:
    """A regime's data and how its flows are read.

    `lead` is the regime with the most buckets when it is another one; `panel` holds raw flows,
    `reference` is None under linear flow; `blocks` are the regime's dates (or parts of dates, see
    `sessions`), `rows` streams the days and `moments` are each block's sums or rows, the lead's
    included. `market_control`: the market's own move is taken out of the responses. `policy` says
    which pairs are kept. `ratios` of each regime: what fills pay of what mids keep, by which the
    moments' mid moves are multiplied.
    """

    panel: Panel
    regime: str
    lead: str | None
    blocks: list[list[str]]
    loss: Loss
    transform: Transform
    reference: Array | None
    moments: list[dict[str, Sums]]
    rows: Callable[[], History]
    policy: RefitPolicy = DEFAULT.refit
    market_control: bool = False
    ratios: Mapping[str, FillRatio] = field(default_factory=dict)
    alone: dict[tuple[str, int], SelfFit] = field(default_factory=dict)  # see `self_impact`
    starts: dict[str, tuple[int, Start]] = field(default_factory=dict)  # see `start`

    def part(self, regime: str, blocks: int) -> Panel:
        """The regime's buckets of the first so many blocks, flows shaped."""
        panel = self.panel.of_regime(regime)
        if blocks < len(self.blocks):
            panel = panel.where(panel.date <= self.blocks[blocks - 1][-1])
        return panel if self.reference is None else panel.shaped(self.reference)

    def days(self, regime: str, blocks: int) -> list[Sums]:
        return [block[regime] for block in self.moments[:blocks] if regime in block]

    def response(self, regime: str, share: float) -> Response:
        """How the regime's slippage and mid moves are read as one."""
        ratio = self.ratios.get(regime)
        if ratio is None:
            return Response(share)
        return Response(share, ratio.own.value, ratio.cross.value)

    def paying(self, ratios: Mapping[str, FillRatio]) -> Window:
        """The window, not paying yet, with its mid moves brought to what fills pay."""
        moments = [
            {regime: day.paid(ratios[regime].cross.value) for regime, day in block.items()}
            for block in self.moments
        ]
        return replace(self, moments=moments, ratios=ratios, alone={}, starts={})

    def self_impact(self, regime: str, blocks: int, share: float) -> SelfFit:
        """Self impact by itself; kept, as neither the placebo's flows nor a control change it."""
        key = regime, blocks
        if key not in self.alone:
            response = self.response(regime, share)
            self.alone[key] = fit_self(self.part(regime, blocks), response=response, loss=self.loss)
        return self.alone[key]

    def start(self, regime: str, blocks: int) -> Start | None:
        """Where a training window's fit begins: at what the last, shorter one found. None for the
        first of them, and for the whole window, whose folds tell each pair's frequency."""
        before, start = self.starts.get(regime, (blocks, None))
        return start if before < blocks < len(self.blocks) else None

    def market(self, regime: str, blocks: int, beta: Array) -> Array | None:
        """Weights of the flows in the market's, when that is a control."""
        if not self.market_control:
            return None
        panel = self.part(regime, blocks)
        equations = summed(self.days(regime, blocks), panel, self.reference).equations
        return market_control.weights(equations, beta, panel.adv)


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
        scaled = _cross(window, regime, blocks, None)[1].scaled
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
    return _model(panel, "", own, zero, zero, reference, {})


def net_model(
    window: Window, blocks: int, share: float, alone: SelfFit, scaled: Array, se: Array,
    extra: Mapping[str, Any],
) -> ImpactModel:  # fmt: skip
    """The model of these couplings, its own terms fitted net of what they and the market moved.

    `alone` is self impact by itself; its beta weighs the flows in the market's.
    """
    panel, reference = window.part(window.regime, blocks), window.reference
    moves, market = scaled, window.market(window.regime, blocks, alone.beta)
    if market is not None:
        days = window.days(window.regime, blocks)
        equations = summed(days, panel, reference).equations
        loading = market_control.coefficients(equations, market, scaled)
        moves = scaled + market_control.loadings(loading, market)
        extra = {**extra, **market_control.recorded(loading, market, panel.adv)}
    own = alone
    if moves.any():
        moved = panel.q @ from_scaled(moves, panel.adv).T
        response = window.response(window.regime, share)
        own = fit_self(panel, response=response, cross=moved, loss=window.loss)
    doubt = (1 - share) * window.ratios[window.regime].own.doubt * own.beta
    left = error_left(panel.q, from_scaled(np.nan_to_num(se), panel.adv))
    own = replace(own, beta_se=np.sqrt(own.beta_se**2 + doubt**2 + left**2))
    return _model(panel, window.regime, own, scaled, se, reference, extra)


def fit_cross_of(
    window: Window, blocks: int, factor: bool = False
) -> tuple[SelfFit, CrossFit, Break]:
    """Self impact by itself, which sets the scale of the couplings, cross impact given it, and
    where that changed: from there on couplings are fitted anew, and the window lends them.

    `factor`: the common factor is asked for, too, and the lead regime's exposures with it.
    """
    found = None if window.lead is None else _found(window, window.lead, blocks)
    lead = None if found is None else _lent(found[1], factor)
    own, cross = _cross(window, window.regime, blocks, lead)
    seen = {window.regime: (own, cross)}
    if window.lead is not None and found is not None:
        seen[window.lead] = found
    change = _break(window, blocks, seen)
    if change.block:
        own, late = _cross(window, window.regime, blocks, _lent(cross, factor), change.block)
        cross = replace(late, share=cross.share)
    return own, cross, change


def _found(window: Window, regime: str, blocks: int) -> tuple[SelfFit, CrossFit] | None:
    """What the lead regime finds on the same blocks of days, if it can."""
    try:
        return _cross(window, regime, blocks, None)
    except EstimationError:
        return None


def _lent(cross: CrossFit, factor: bool) -> Lead:
    exposure = cross.factor.exposure if factor else np.zeros(len(cross.scaled))
    return Lead(cross.inclusion, cross.likely, cross.likely_se, exposure)


def _break(window: Window, blocks: int, seen: Mapping[str, tuple[SelfFit, CrossFit]]) -> Break:
    """Where the couplings of these regimes changed."""
    scores = [_block_scores(window, r, blocks, *found) for r, found in seen.items()]
    return structural_break.detect(scores, [block[0] for block in window.blocks[:blocks]])


def _block_scores(
    window: Window, regime: str, blocks: int, own: SelfFit, cross: CrossFit
) -> BlockScores:
    days = [block.get(regime) for block in window.moments[:blocks]]
    scale = np.sqrt(np.outer(own.beta, own.beta))
    market = window.market(regime, blocks, own.beta)
    panel = window.part(regime, blocks)
    return structural_break.block_scores(days, panel, cross.scaled, scale, window.reference, market)


def _cross(
    window: Window, regime: str, blocks: int, lead: Lead | None, first: int = 0
) -> tuple[SelfFit, CrossFit]:
    """Self impact on so many blocks, and cross impact on those of them from `first` on."""
    panel, days = window.part(regime, blocks), window.days(regime, blocks)
    share = summed(days, panel, window.reference).share
    own = window.self_impact(regime, blocks, share)
    market = window.market(regime, blocks, own.beta)
    start = None if first else window.start(regime, blocks)
    days = [block[regime] for block in window.moments[first:blocks] if regime in block]
    cross = fit_cross(
        days, panel, own.beta, window.reference, lead, own.beta_se, market, window.policy, start
    )
    if not first:
        window.starts[regime] = blocks, cross.start
    return own, cross


def _model(
    panel: Panel, regime: str, own: SelfFit, scaled: Array, se: Array, reference: Array | None,
    extra: Mapping[str, Any],
) -> ImpactModel:  # fmt: skip
    coupled = scaled != 0
    return ImpactModel(
        symbols=panel.symbols,
        sectors=panel.sectors,
        adv=panel.adv,
        regime=regime,
        alpha=own.alpha,
        beta=own.beta,
        gamma=from_scaled(scaled, panel.adv),
        transform="linear" if reference is None else "sqrt",
        reference=np.empty(0) if reference is None else reference,
        alpha_se=own.alpha_se,
        beta_se=own.beta_se,
        gamma_se=np.where(coupled, from_scaled(se, panel.adv), np.nan),
        provenance={
            **extra,
            "level_bps": own.level.tolist(),
            "peer_bps": own.peer.tolist(),
        },
    )
