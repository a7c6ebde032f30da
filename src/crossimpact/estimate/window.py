"""The window of one regime, and self and cross impact on the first of its blocks of dates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from crossimpact.errors import EstimationError
from crossimpact.estimate import market_control, structural_break
from crossimpact.estimate.common import Lead
from crossimpact.estimate.cross_impact import CrossFit, Start, fit_cross
from crossimpact.estimate.fill_ratio import FillRatio
from crossimpact.estimate.folds import Folded, folded
from crossimpact.estimate.own_terms import error_left
from crossimpact.estimate.self_impact import Loss, SelfFit, fit_self
from crossimpact.estimate.structural_break import BlockScores, Break
from crossimpact.estimate.weighted_rows import History, Sums
from crossimpact.model import Array, ImpactModel, Transform, from_scaled
from crossimpact.panel import Panel
from crossimpact.release.policy import DEFAULT, RefitPolicy
from crossimpact.response import Response


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
    parts: dict[str, Panel] = field(default_factory=dict)  # see `part`
    held: dict[tuple[str, int], Folded] = field(default_factory=dict)  # see `plain`
    markets: dict[tuple[str, int], Array] = field(default_factory=dict)  # see `market`

    def part(self, regime: str, blocks: int) -> Panel:
        """The regime's buckets of the first so many blocks, flows shaped."""
        if regime not in self.parts:
            whole = self.panel.of_regime(regime)
            shaped = whole if self.reference is None else whole.shaped(self.reference)
            self.parts[regime] = shaped
        panel = self.parts[regime]
        if blocks == len(self.blocks):
            return panel
        return panel.until(self.blocks[blocks - 1][-1])

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
        fresh: dict[str, Any] = {name: {} for name in ("alone", "starts", "held", "markets")}
        return replace(self, moments=moments, ratios=ratios, **fresh)

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
        if (key := (regime, blocks)) not in self.markets:
            equations = self.plain(regime, blocks).whole.equations
            self.markets[key] = market_control.weights(equations, beta, self.panel.adv)
        return self.markets[key]

    def plain(self, regime: str, blocks: int) -> Folded:
        """The regime's equations on so many blocks with nobody's market taken out; the last ones
        asked for are kept, as the couplings and the baselines beside them read the same."""
        key = regime, blocks
        if key not in self.held:
            self.held.clear()  # they are the larger part of a fit's memory
            days = self.days(regime, blocks)
            self.held[key] = folded(days, self.part(regime, blocks), self.reference)
        return self.held[key]

    def equations(self, regime: str, blocks: int, beta: Array) -> Folded:
        """The same, less the market's own move where that is a control."""
        return self.plain(regime, blocks).without_market(self.market(regime, blocks, beta))


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
        equations = window.plain(window.regime, blocks).whole.equations
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
    return model_of(panel, window.regime, own, scaled, se, reference, extra)


def fit_cross_of(
    window: Window, blocks: int, factor: bool = False
) -> tuple[SelfFit, CrossFit, Break]:
    """Self impact by itself, which sets the scale of the couplings, cross impact given it, and
    where that changed: from there on couplings are fitted anew, and the window lends them.

    `factor`: the common factor is asked for, too, and the lead regime's exposures with it.
    """
    found = None if window.lead is None else _found(window, window.lead, blocks)
    lead = None if found is None else _lent(found[1], factor)
    told = blocks == len(window.blocks)  # a training window's frequencies are nobody's
    own, cross = cross_on(window, window.regime, blocks, lead, frequency=told)
    seen = {window.regime: (own, cross)}
    if window.lead is not None and found is not None:
        seen[window.lead] = found
    change = _break(window, blocks, seen)
    if change.block:
        lent = _lent(cross, factor)
        own, late = cross_on(window, window.regime, blocks, lent, change.block, told)
        cross = replace(late, share=cross.share)
    return own, cross, change


def _found(window: Window, regime: str, blocks: int) -> tuple[SelfFit, CrossFit] | None:
    """What the lead regime finds on the same blocks of days, if it can."""
    try:
        return cross_on(window, regime, blocks, None)
    except EstimationError:
        return None


def _lent(cross: CrossFit, factor: bool) -> Lead:
    exposure = cross.factor.exposure if factor else np.zeros(len(cross.scaled))
    return Lead(cross.inclusion, cross.likely, cross.likely_se, exposure)


def _break(window: Window, blocks: int, seen: Mapping[str, tuple[SelfFit, CrossFit]]) -> Break:
    """Where the couplings of these regimes changed."""
    if blocks < structural_break.MIN_BLOCKS:
        return structural_break.NONE
    scores = [_block_scores(window, r, blocks, *found) for r, found in seen.items()]
    return structural_break.detect(scores, [block[0] for block in window.blocks[:blocks]])


def _block_scores(
    window: Window, regime: str, blocks: int, own: SelfFit, cross: CrossFit
) -> BlockScores:
    days = [block.get(regime) for block in window.moments[:blocks]]
    scale = np.sqrt(np.outer(own.beta, own.beta))
    market = window.market(regime, blocks, own.beta)
    return structural_break.block_scores(
        days, window.part(regime, blocks), cross.design, cross.scaled, scale, window.reference,
        market,
    )  # fmt: skip


def cross_on(
    window: Window, regime: str, blocks: int, lead: Lead | None, first: int = 0,
    frequency: bool = False,
) -> tuple[SelfFit, CrossFit]:  # fmt: skip
    """Self impact on so many blocks, and cross impact on those of them from `first` on."""
    panel = window.part(regime, blocks)
    own = window.self_impact(regime, blocks, window.plain(regime, blocks).whole.share)
    found = window.equations(regime, blocks, own.beta)
    if first:
        late = [block[regime] for block in window.moments[first:blocks] if regime in block]
        market = window.market(regime, blocks, own.beta)
        found = folded(late, panel, window.reference).without_market(market)
    start = None if first else window.start(regime, blocks)
    cross = fit_cross(found, panel, own.beta, lead, own.beta_se, window.policy, start, frequency)
    if not first:
        window.starts[regime] = blocks, cross.start
    return own, cross


def model_of(
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
