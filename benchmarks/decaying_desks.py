"""Trial desks whose impact outlives its bucket: flows and couplings of `desks`, a planted decay.

    desk = draw(seed=0, half_life_min=30, permanent=0.3)
    desk.panel, desk.models          # what is seen, and the planted model of each regime
    desk.decay                       # the planted kernel

A push x (bps, as fills pay it) builds up through its bucket and leaves ``x / fill_ratio`` in the
mid at the bucket's end; a share of that stays, the rest decays. Sessions start clean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.couplings import KINDS, World, plan
from benchmarks.desks import (
    BUCKETS,
    FILL_RATIO,
    NOISE_BPS,
    SELF_FILL_RATIO,
    Bools,
    _bridge,
    _by_regime,
    _fill_moments,
    _flows,
    _panel,
    _peer_moves,
    _peers,
    _scale,
    _shocks,
    _slippage,
    _spells,
    built_up,
)
from crossimpact.kernel.decay import Decay
from crossimpact.model import Array, ImpactModel, from_scaled
from crossimpact.panel import REGIMES, Panel

BUCKET_MIN = 5.0


@dataclass(frozen=True)
class DecayingDesk:
    """A drawn desk: its panel, its planted models (with kernel) by regime, its planted kernel."""

    panel: Panel
    models: Mapping[str, ImpactModel]
    decay: Decay

    def cross_share(self) -> float:
        """Share of the variance of traded cells' mid moves that this bucket's cross pushes are."""
        traded = self.panel.q != 0
        push = self.decay.scale_cross * pushes(self.panel, self.models)[1]
        return float(push[traded].var() / self.panel.move[traded].var())


def draw(
    seed: int, *, half_life_min: float = 30.0, permanent: float = 0.0, symbols: int = 20,
    days: int = 25, kind: str = "clean", fill_ratio: float = FILL_RATIO,
    self_fill_ratio: float = SELF_FILL_RATIO, overnight: float = 0.0, cross_share: float = 0.02,
) -> DecayingDesk:  # fmt: skip
    """Draw a desk.

    Parameters
    ----------
    seed
        Equal seeds, equal flows and noise, whatever the decay.
    half_life_min, permanent
        Of the transient part, inf for none, and the share that stays.
    symbols, days, kind
        Names, sessions, and the character of flows and couplings, a key of `KINDS`.
    fill_ratio, self_fill_ratio
        What fills pay of the cross and own impact that the mid keeps at the bucket's end.
    overnight
        Share of a session's last state with which the next one starts.
    cross_share
        Share of the variance of traded cells' mid moves that cross pushes of the same bucket make,
        at most; couplings are scaled down to it.
    """
    traits, length = KINDS[kind], BUCKETS * days
    rng = np.random.default_rng([seed, 77])
    world = plan(rng, traits, symbols)
    stressed = _spells(rng, length)
    peers = _peers(rng, world.sector, length)
    q = _flows(rng, traits, world, peers[0] + 0.6 * peers[1])
    noise = NOISE_BPS * _scale(stressed)[:, None] * np.exp(rng.normal(0, 0.25, symbols))
    drift = noise * _shocks(rng, traits, world.sector, length) + _peer_moves(rng, peers)
    decay = Decay.from_half_life(
        half_life_min, permanent, scale_self=1 / self_fill_ratio, scale_cross=1 / fill_ratio,
        bucket_min=BUCKET_MIN, overnight=overnight,
    )  # fmt: skip
    at = _fill_moments(rng, q.shape)
    blank = _panel(world, stressed, q, np.zeros_like(q), drift, peers)
    models = _with_share(_models(world, blank, decay), replace(blank, move=drift), cross_share)
    own, cross = pushes(blank, models)
    left = decay.scale_self * own, decay.scale_cross * cross
    built = built_up(at, self_fill_ratio).mean(axis=0), built_up(at, fill_ratio).mean(axis=0)
    faded = _faded(decay, left[0] + left[1], blank, at)
    move = drift + left[0] + left[1] + faded[0]
    path = drift * at.mean(axis=0) + noise * _bridge(rng, at) + faded[1]
    path += left[0] * built[0] + left[1] * built[1]
    s = _slippage(rng, traits, world, stressed, q, path)
    return DecayingDesk(replace(blank, s=s, move=move), models, decay)


def pushes(panel: Panel, models: Mapping[str, ImpactModel]) -> tuple[Array, Array]:
    """Own and cross pushes of the buckets' regimes, bps as fills pay them, both (T, n)."""
    stressed: Bools = panel.regime == "stressed"
    own = {regime: models[regime].self_bps(panel.q) for regime in REGIMES}
    cross = {regime: models[regime].cross_bps(panel.q) for regime in REGIMES}
    return _by_regime(own, stressed), _by_regime(cross, stressed)


def _models(world: World, panel: Panel, decay: Decay) -> dict[str, ImpactModel]:
    return {
        regime: ImpactModel(
            panel.symbols, panel.sectors, world.adv, regime, world.alpha[regime],
            world.beta[regime], from_scaled(world.end[regime], world.adv), kernel=decay,
        )
        for regime in REGIMES
    }  # fmt: skip


def _with_share(
    models: dict[str, ImpactModel], quiet: Panel, share: float
) -> dict[str, ImpactModel]:
    """The models with couplings that make this share of the variance, no stronger than drawn."""
    traded = quiet.q != 0
    own, cross = pushes(quiet, models)
    kernel = models["normal"].kernel
    assert kernel is not None
    rest = (quiet.move + kernel.scale_self * own)[traded].var()
    made = (kernel.scale_cross * cross)[traded].var()
    factor = min(1.0, float(np.sqrt(share / (1 - share) * rest / made)))
    return {r: replace(model, gamma=factor * model.gamma) for r, model in models.items()}


def _faded(decay: Decay, left: Array, panel: Panel, at: Array) -> tuple[Array, Array]:
    """What earlier buckets' pushes (bps at their end) change by within the bucket: the mid by its
    end, and the fills on average."""
    by_end, by_fills = np.zeros_like(left), np.zeros_like(left)
    for weight, rate in zip(decay.weights, decay.rates_per_min, strict=True):
        one = replace(decay, weights=(1.0,), rates_per_min=(rate,))
        carried = weight * one.carried(left, panel.date.tolist())
        by_end += carried * np.expm1(-rate * BUCKET_MIN)
        by_fills += carried * np.expm1(-rate * BUCKET_MIN * at).mean(axis=0)
    return by_end, by_fills
