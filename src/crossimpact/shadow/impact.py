"""A judge: impact of every regime on a day's names, as estimated and as drawn from its errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from crossimpact.alignment import Alignment
from crossimpact.kernel.decay import Decay
from crossimpact.kernel.power_law import PowerLawDecay
from crossimpact.model import ImpactModel
from crossimpact.scaled import Array, from_scaled, to_scaled

#: Half-lives, minutes, that stand in for the judge's kernel; the worst is told.
HALF_LIVES = (1.0, 5.0, 30.0)
#: Exponent of the power law that does.
EXPONENT = 0.5
#: Standard errors from the middle to either end of a 95% interval.
TWO_SIDED = 1.96
#: Fits of half a window miss what was planted by so many of their standard errors, root mean square
#: (`benchmarks.shadow_desks --errors`): couplings, and the kernel's scales. Draws are as wide.
COUPLING_DOUBT, SCALE_DOUBT = 1.5, 3.0
#: ``g(t)`` in minutes after a bucket's end.
Curve = Callable[[Array], Array]


class Numbers(NamedTuple):
    """One set of a regime's numbers: own impact (n,) and couplings (n, n), bps per ADV fraction;
    what the mid keeps of a push at its bucket's end, of own and of others', and how it decays."""

    beta: Array
    gamma: Array
    scale_self: float
    scale_cross: float
    curve: Curve


@dataclass(frozen=True)
class Judge:
    """Models by regime on a day's names; buckets of a regime without one move nothing.

    Attributes
    ----------
    models
        With the day's symbols, in its order; a name a model does not know moves by nothing.
    known
        Whether some model knows the name, shape (n,).
    days
        Of the fit: errors of few days are themselves uncertain, so draws are Student's t with one
        degree of freedom less; 0: as many as one likes.
    """

    models: Mapping[str, ImpactModel]
    known: Array
    days: int = 0

    @classmethod
    def of(
        cls, models: Mapping[str, ImpactModel], symbols: Sequence[str], adv: Array, days: int = 0
    ) -> Judge:
        """A release's models on the day's names and volumes."""
        known = np.zeros(len(symbols), dtype=bool)
        for model in models.values():
            known[Alignment.between(model.symbols, symbols).target] = True
        return cls({r: _on(model, symbols, adv) for r, model in models.items()}, known, days)

    def shaped(self, reference: Array) -> Judge:
        """The same numbers on the square root of the flow, equal to it at the reference."""
        models = {
            r: replace(m, transform="sqrt", reference=reference) for r, m in self.models.items()
        }
        return replace(self, models=models)

    def estimate(self) -> dict[str, Numbers]:
        """The numbers as they were fitted, by regime."""
        return {regime: _numbers(model) for regime, model in self.models.items()}

    def draws(self, count: int, seed: int) -> Iterator[dict[str, Numbers]]:
        """So many sets from the standard errors: own impact, couplings (a pair's two sides
        together), half-lives in logarithms, all numbers of a kernel at once."""
        rng = np.random.default_rng(seed)
        free = self.days - 1
        for _ in range(count):
            wide = math.sqrt(free / rng.chisquare(free)) if free > 0 else 1.0
            yield {r: _drawn(self.models[r], rng, wide) for r in sorted(self.models)}


def curves() -> dict[str, tuple[Curve, ...]]:
    """Kernels that stand in for the judge's, by the name their row has."""
    return {
        "none": (lambda t: np.zeros_like(t),),
        "exponential": tuple(Decay.from_half_life(minutes).value for minutes in HALF_LIVES),
        "power": (PowerLawDecay(EXPONENT, 5.0).shape,),
    }


def carry(curve: Mapping[str, Curve], regimes: Sequence[str], bucket_min: float) -> Array:
    """Share of each bucket's push that is there at the start of each later one and at the close,
    shape (B + 1, B); of a bucket whose regime has no curve nothing is."""
    B = len(regimes)
    lag = np.arange(B + 1)[:, None] - np.arange(B)[None, :] - 1
    result = np.zeros((B + 1, B))
    for regime, g in curve.items():
        values = g(np.arange(float(B)) * bucket_min)
        columns = np.flatnonzero(np.array(regimes) == regime)
        result[:, columns] = np.where(lag >= 0, values[np.maximum(lag, 0)], 0.0)[:, columns]
    return result


def _doubted(model: ImpactModel) -> ImpactModel:
    """The model with an error for every pair: one that was not found is as well known, against own
    impact in the scaled space, as those that were; where none was, as own impact is."""
    own = np.sqrt(model.beta)
    unit = np.where(own > 0, own, 1.0)[:, None] * np.where(own > 0, own, 1.0)
    seen = to_scaled(model.gamma_se, model.adv) / unit
    known = np.isfinite(seen) & (model.gamma != 0)
    spread = np.nan_to_num(model.beta_se) / np.where(model.beta > 0, model.beta, 1.0)
    usual = float(np.median(seen[known])) if known.any() else float(np.median(spread))
    filled = from_scaled(np.where(known, seen, usual) * unit, model.adv)
    np.fill_diagonal(filled, 0.0)
    return replace(model, gamma_se=filled)


def _on(model: ImpactModel, symbols: Sequence[str], adv: Array) -> ImpactModel:
    onto = Alignment.between(model.symbols, symbols)
    model = _doubted(model)
    return replace(
        model,
        symbols=tuple(symbols),
        sectors=("",) * len(symbols),
        adv=adv,
        reference=onto(model.reference, missing=1.0),
        gamma_frequency=np.empty(0),
        alpha_se=np.empty(0),
        alpha=onto(model.alpha),
        beta=onto(model.beta),
        beta_se=np.nan_to_num(onto(model.beta_se)),
        gamma=onto(model.gamma, axes=(0, 1)),
        gamma_se=onto(model.gamma_se, axes=(0, 1)),
    )


def _numbers(model: ImpactModel) -> Numbers:
    kernel = model.kernel
    if kernel is None:
        return Numbers(model.beta, model.gamma, 1.0, 1.0, lambda t: np.zeros_like(t))
    return Numbers(model.beta, model.gamma, kernel.scale_self, kernel.scale_cross, kernel.value)


def _drawn(model: ImpactModel, rng: np.random.Generator, wide: float) -> Numbers:
    """All standard errors times `wide`."""
    n = model.n
    beta = model.beta + wide * model.beta_se * rng.standard_normal(n)
    pairs = rng.standard_normal((n, n))
    pairs = (pairs + pairs.T) * (wide * COUPLING_DOUBT / math.sqrt(2))  # both sides of a pair
    pairs *= model.gamma_se
    pairs += model.gamma
    shocks = wide * rng.standard_normal(4)
    drawn = _numbers(model)._replace(beta=np.maximum(beta, 0.0), gamma=pairs)
    if model.kernel is None:
        return drawn
    kernel, errors = model.kernel, model.kernel.errors
    decay = _drawn_decay(kernel, shocks[0], shocks[1])
    own = kernel.scale_self + SCALE_DOUBT * (errors.scale_self_se or 0.0) * shocks[2]
    cross = kernel.scale_cross + SCALE_DOUBT * (errors.scale_cross_se or 0.0) * shocks[3]
    return drawn._replace(scale_self=max(own, 0.0), scale_cross=max(cross, 0.0), curve=decay.value)


def _drawn_decay(kernel: Decay, life: float, stays: float) -> Decay:
    """The kernel with another half-life and permanent share, `life` and `stays` standard errors
    away; an end of an interval that is infinite or not known says nothing."""
    errors = kernel.errors
    rates, weights = np.array(kernel.rates_per_min), np.array(kernel.weights)
    low, high = errors.half_life_lo, errors.half_life_hi
    if low and high and math.isfinite(high) and high > low:
        rates = rates * math.exp(-life * math.log(high / low) / (2 * TWO_SIDED))
    if errors.permanent_lo is not None and errors.permanent_hi is not None and (rates > 0).any():
        se = (errors.permanent_hi - errors.permanent_lo) / (2 * TWO_SIDED)
        share = min(max(kernel.permanent + se * stays, 0.0), 1.0)
        fading = weights * (rates > 0)
        fading = fading / fading.sum() * (1 - share)
        first = kernel.rates_per_min[0] == 0
        rates = rates if first else np.append(0.0, rates)
        weights = fading if first else np.append(0.0, fading)
        weights[0] = share
    return replace(kernel, weights=tuple(weights / weights.sum()), rates_per_min=tuple(rates))
