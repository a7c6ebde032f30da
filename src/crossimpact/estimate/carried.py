"""What earlier buckets' flow leaves in a bucket's prices, and the panel without it.

`crossimpact.kernel.decay` says what a push has left at the start of a later bucket. Within that
bucket what is left fades on: the mid moves by the whole of it, the fills, spread over the bucket,
meet the average of it. Their slippage is measured from the mid at the bucket's start, which carries
all of what was left, so that only the fading shows in it, against the sign of the push. Gamma and
beta are fitted on responses without either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from crossimpact.estimate.decay_sums import Models, on_slots, pushes, slots_of
from crossimpact.kernel.decay import Decay
from crossimpact.model import Array
from crossimpact.panel import Panel

Decays = Mapping[str, Decay]


def carried(panel: Panel, models: Models, decays: Decays) -> tuple[Array, Array]:
    """What earlier pushes have left at the START of each bucket.

    Parameters
    ----------
    panel
        Whole sessions, raw flows, on the models' symbols.
    models, decays
        By regime: a push is of the model and the kernel of the regime in which it was made. A
        regime without a kernel leaves nothing.

    Returns
    -------
    own, cross
        Signed bps, (T, n), by the name's own pushes and by the others'.
    """
    return _left(panel, models, decays, lambda decay: np.ones(len(decay.weights)))


def net_of_carried(panel: Panel, models: Models, decays: Decays) -> Panel:
    """The panel, its moves and slippage less what fades of earlier buckets' pushes, with the one
    that was seen as its `raw` and the one less own pushes as `net_of_own`; arguments as `carried`.
    """
    mid = _left(panel, models, decays, lambda decay: 1 - kept_at_end(decay))
    fills = _left(panel, models, decays, lambda decay: 1 - kept_on_average(decay))

    def less(before: Panel, which: int) -> Panel:
        s = before.s + np.sign(panel.q) * fills[which]
        return replace(before, move=before.move + mid[which], s=s, raw=panel.seen)

    own = less(panel, 0)
    return replace(less(own, 1), net_of_own=own)


def kept_at_end(decay: Decay) -> Array:
    """What each exponential keeps over a bucket."""
    return np.exp(-decay.bucket_min * np.array(decay.rates_per_min))


def kept_on_average(decay: Decay) -> Array:
    """The same on average over the bucket, as fills spread over it meet it."""
    rates = np.array(decay.rates_per_min)
    width = decay.bucket_min * np.where(rates > 0, rates, 1.0)
    return np.asarray(np.where(rates > 0, -np.expm1(-width) / width, 1.0))


def _left(
    panel: Panel, models: Models, decays: Decays, share: Callable[[Decay], Array]
) -> tuple[Array, Array]:
    """At each bucket's start, so much of each exponential of what earlier pushes have left."""
    push = pushes(panel, models)
    result = np.zeros((2, *panel.q.shape))
    for k, regime in enumerate(models):
        if regime not in decays:
            continue
        decay = decays[regime]
        weights = np.array(decay.weights) * share(decay)
        total = float(weights.sum())
        if total > 0:
            part = replace(decay, weights=tuple((weights / total).tolist()))
            left = total * _by_session(panel, part, push[:, :, 2 * k : 2 * k + 2])
            result[0] += decay.scale_self * left[:, :, 0]
            result[1] += decay.scale_cross * left[:, :, 1]
    return result[0], result[1]


def _by_session(panel: Panel, decay: Decay, push: Array) -> Array:
    """`Decay.carried` of each session, missing buckets without flow."""
    left = np.empty_like(push)
    for date in np.unique(panel.date):
        rows = np.flatnonzero(panel.date == date)
        slots = slots_of(panel.where(panel.date == date), decay.bucket_min)
        left[rows] = decay.carried(on_slots(push[rows], slots))[slots]
    return left
