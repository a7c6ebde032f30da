"""The ladder's models on the first of a window's blocks of dates, and their size out of sample.

The same function fits the whole window and every training window of the walk-forward, so that what
is judged is what ships.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from crossimpact.estimate import collinear, stability
from crossimpact.estimate.cross_impact import CrossFit
from crossimpact.estimate.self_impact import SelfFit
from crossimpact.estimate.window import Window, fit_cross_of, net_model
from crossimpact.model import Array, ImpactModel, from_scaled, to_scaled

SAME_SIZE = 0.02  # a matrix nearer to its size out of sample than this is not touched


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
    # All couplings are as wrong as the ratio that brought the mid's moves to what fills pay, and as
    # they may have moved by the window's end.
    ratio_doubt = (1 - cross.share) * window.ratios[window.regime].cross.doubt
    doubt = np.hypot(ratio_doubt, change.doubt)

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
        "break_doubt": change.doubt,
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
