"""The window of one regime, and what is estimated on the first of its blocks of dates.

The same function fits the whole window and every training window of the walk-forward, so that what
is judged is what ships.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from crossimpact.errors import EstimationError
from crossimpact.estimate import collinear, gram, market_control, stability, structural_break
from crossimpact.estimate.cross_impact import CrossFit, Lead, Start, fit_cross
from crossimpact.estimate.equations import summed
from crossimpact.estimate.fill_ratio import FillRatio, cross_ratio, own_ratio, pooled
from crossimpact.estimate.gram import History, Moments
from crossimpact.estimate.self_impact import Loss, SelfFit, fit_self
from crossimpact.estimate.structural_break import BlockScores, Break
from crossimpact.estimate.walk_forward import Candidate, date_blocks, walk_forward
from crossimpact.model import Array, ImpactModel, Transform, from_scaled, to_scaled
from crossimpact.panel import REGIMES, Panel
from crossimpact.release.policy import DEFAULT, RefitPolicy
from crossimpact.response import MOVES, Response

SAME_SIZE = 0.02  # a matrix nearer to its size out of sample than this is not touched
CONCAVE_SE = 1.0  # standard errors by which square-root flow must beat linear: a tie is linear's


@dataclass(frozen=True)
class Window:
    """A regime's data and how its flows are read.

    `lead` is the regime with the most buckets when it is another one; `panel` holds raw flows,
    `reference` is None under linear flow; `blocks` are the regime's dates (or parts of dates, see
    `sessions`) and `moments` the sums over each block, the lead's included. `market_control`: the
    market's own move is taken out of the responses. `policy` says which pairs are kept. `ratios` of
    each regime: what fills pay of what mids keep, by which the moments' mid moves are multiplied.
    """

    panel: Panel
    regime: str
    lead: str | None
    blocks: list[list[str]]
    loss: Loss
    transform: Transform
    reference: Array | None
    moments: list[dict[str, Moments]]
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

    def days(self, regime: str, blocks: int) -> list[Moments]:
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
    summed = gram.blocks(
        moments(transform), [b[-1] for b in blocks], [regime, lead] if lead else [regime]
    )
    window = Window(panel, regime, lead, blocks, loss, transform, reference, summed, policy)
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


class Size(NamedTuple):
    """By what a matrix is multiplied, and how far that may be off."""

    value: float
    error: float


AS_FITTED = Size(1.0, 0.0)


@dataclass(frozen=True)
class Found:
    """Estimates on some dates: the ladder's models, and what the report tells of them."""

    ladder: dict[str, ImpactModel]
    alone: SelfFit
    cross: CrossFit
    share: float
    rules: Sequence[stability.RuleRow]
    reason: str
    counts: dict[str, float]


def estimate(window: Window, blocks: int) -> Found:
    """The ladder's models on the first so many blocks.

    Raises
    ------
    EstimationError
        When self impact cannot be told on them.
    """
    panel = window.part(window.regime, blocks)
    alone, cross, change = fit_cross_of(window, blocks, factor=True)
    extra: dict[str, Any] = {
        "self_source": {
            symbol: str(source)
            for symbol, source in zip(panel.symbols, alone.source, strict=True)
            if source != "own"
        },
        "sector_couplings": cross.template.couplings,
        "fill_ratio": window.ratios[window.regime].recorded(),
        "typical_flow": panel.typical_flow().tolist(),
        **change.recorded(),
    }

    if alike := collinear.recorded(panel.symbols, cross.twins, len(panel.ts)):
        extra[collinear.KEY] = alike
    # All couplings are as wrong as the ratio that brought the mid's moves to what fills pay.
    doubt = (1 - cross.share) * window.ratios[window.regime].cross.doubt

    def model(scaled: Array, se: Array) -> ImpactModel:
        se = np.hypot(se, doubt * np.abs(scaled))
        return net_model(window, blocks, cross.share, alone, scaled, se, extra)

    # a training window's errors are nobody's
    se = cross.se if blocks == len(window.blocks) else np.full_like(cross.scaled, np.nan)
    full = replace(model(cross.scaled, se), gamma_frequency=cross.frequency)
    common = cross.template
    stable, rules, reason = stability.stabilise(full, common.scaled)
    pairs = cross.twins.pairs
    grouped = (np.where(pairs, *both) for both in ((cross.scaled, common.scaled), (se, common.se)))
    block, _, _ = stability.stabilise(model(*grouped))
    factor, _, _ = stability.stabilise(model(cross.factor.scaled, cross.factor.se))
    capped = next(row for row in rules if row.rule == "cap").changed
    counts = {
        "capped_share": capped / max(2 * full.edges, 1),
        "selected_pairs": float((np.triu(np.nan_to_num(cross.frequency), 1) >= 0.5).sum()),
        "kept_pairs": float(cross.kept),
        "template_couplings": float(len(cross.template.couplings)),
        "break_p": change.p_value,
        "break_change": change.change,
        "break_found": float(change.block > 0),
        "indistinguishable": float(len(alike)),
    }
    ladder = {
        "full": stable,
        "sector_block": block,
        "one_factor": factor,
        # What a desk would fit that knows of no cross impact, not what is left of one.
        "self_only": model(np.zeros_like(cross.scaled), np.zeros_like(cross.scaled)),
    }
    return Found(ladder, alone, cross, cross.share, rules, reason, counts)


def resized(window: Window, found: Found, sizes: Mapping[str, Size]) -> Found:
    """The ladder with its matrices multiplied by `sizes`, own terms fitted net of what is left; how
    far the size may be off is in the errors."""

    def smaller(rung: str, model: ImpactModel) -> ImpactModel:
        size = sizes.get(rung, AS_FITTED)
        if not model.edges or (size.value > 1 - SAME_SIZE and not size.error):
            return model
        scaled, se = (to_scaled(m, model.adv) for m in (model.gamma, model.gamma_se))
        se = np.hypot(size.value * se, size.error * np.abs(scaled))
        if size.value > 1 - SAME_SIZE:
            wide = np.where(scaled != 0, from_scaled(se, model.adv), np.nan)
            return replace(model, gamma_se=wide)
        extra = {**model.provenance, "out_of_sample_size": size.value}
        blocks = len(window.blocks)
        again = net_model(window, blocks, found.share, found.alone, size.value * scaled, se, extra)
        again = replace(again, gamma_frequency=model.gamma_frequency)
        return stability.stabilise(again, found.cross.template.scaled)[0]

    return replace(found, ladder={rung: smaller(rung, m) for rung, m in found.ladder.items()})


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
    doubt = (1 - share) * window.ratios[window.regime].own.doubt
    own = replace(own, beta_se=np.hypot(own.beta_se, doubt * own.beta))
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
