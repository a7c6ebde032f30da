"""What is true of a trial desk: its character, names, own impact and couplings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossimpact.model import Array
from crossimpact.panel import REGIMES

SECTORS = 8
SMALLEST_EIGENVALUE = 50.0  # of M + diag(beta), bps


@dataclass(frozen=True)
class Traits:
    """What sets a kind of desk apart.

    Attributes
    ----------
    days
        Sessions in the window.
    adv_spread
        Standard deviation of log ADV.
    heavy
        Sizes and noise with fat tails (t with 2.2 and 3 degrees of freedom).
    chase
        How far flows follow the peers' flow of the same bucket.
    follow
        Share of names whose flow copies, or mirrors, a leader of their sector.
    rare
        Share of names that trade in a tenth of the buckets others would.
    drift
        Log standard deviation of the wander of every coupling over the window.
    common
        Share of noise variance owed to a market and a sector factor.
    couplings
        How the normal matrix is laid out, see `_normal`.
    stress
        ``amplified``: the normal pairs, stronger, a tenth of them gone; ``other``: new pairs.
    """

    days: int = 60
    adv_spread: float = 0.9
    heavy: bool = False
    chase: float = 0.0
    follow: float = 0.0
    rare: float = 0.0
    drift: float = 0.0
    common: float = 0.0
    couplings: Literal["sparse", "none", "blocks", "market"] = "sparse"
    stress: Literal["amplified", "other"] = "amplified"


#: The recovery table's seven kinds, then structures beyond it.
KINDS: Mapping[str, Traits] = {
    "clean": Traits(),
    "confounded": Traits(chase=0.25),
    "heavy_tails": Traits(heavy=True),
    "unbalanced": Traits(adv_spread=1.6, rare=0.3),
    "ill_conditioned": Traits(follow=0.6),
    "drift": Traits(drift=0.5),
    "small_sample": Traits(days=10),
    "self_only": Traits(couplings="none"),
    "blocks": Traits(couplings="blocks"),
    "market": Traits(couplings="market"),
    "common_noise": Traits(common=0.4),
    "other_stress": Traits(stress="other"),
}


@dataclass(frozen=True)
class World:
    """What is true: names, own impact and couplings per regime at the window's ends."""

    sector: NDArray[np.int64]
    adv: Array
    alpha: Mapping[str, Array]
    beta: Mapping[str, Array]
    start: Mapping[str, Array]
    end: Mapping[str, Array]


def plan(rng: np.random.Generator, traits: Traits, n: int) -> World:
    sector = np.arange(n) * SECTORS // n
    adv = np.exp(rng.normal(18.5, traits.adv_spread, n))
    alpha, beta = _own(rng, n)
    start = _couplings(rng, traits, sector, beta)
    end = {regime: _wander(rng, traits, start[regime], beta[regime]) for regime in REGIMES}
    return World(sector, adv, alpha, beta, start, end)


def _own(rng: np.random.Generator, n: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """alpha and beta per regime, bps."""
    beta, alpha = rng.uniform(800, 3000, n), rng.uniform(0.5, 3, n)
    rise = rng.uniform(1.2, 1.8, n)
    return (
        {"normal": alpha, "stressed": 1.6 * alpha},
        {"normal": beta, "stressed": rise * beta},
    )


def _couplings(
    rng: np.random.Generator, traits: Traits, sector: NDArray[np.int64], beta: dict[str, Array]
) -> dict[str, Array]:
    """Symmetric couplings per regime, admissible with their regime's beta."""
    normal = _normal(rng, traits, sector, beta["normal"])
    if traits.stress == "other":
        other = np.where(normal == 0, _sparse(rng, sector, beta["stressed"], 0.45), 0.0)
        return {"normal": normal, "stressed": _admissible(other, beta["stressed"])}
    gain = _mirror(rng.uniform(1.0, 2.2, normal.shape))
    if traits.couplings == "sparse":
        gain *= _mirror(rng.random(normal.shape)) >= 0.1
    return {"normal": normal, "stressed": _admissible(normal * gain, beta["stressed"])}


def _normal(
    rng: np.random.Generator, traits: Traits, sector: NDArray[np.int64], beta: Array
) -> Array:
    """The normal regime's couplings: none, sector blocks, pairs, or pairs on a weak market."""
    same = sector[:, None] == sector
    if traits.couplings == "none":
        return np.zeros(same.shape)
    if traits.couplings == "blocks":
        level = rng.uniform(250, 550, SECTORS)[sector]
        return _admissible(np.where(same, level, 0.0), beta)
    if traits.couplings == "market":
        weak = 0.04 * np.sqrt(np.outer(beta, beta))
        return _admissible(weak + _sparse(rng, sector, beta, 0.25), beta)
    return _admissible(_sparse(rng, sector, beta, 0.72), beta)


def _sparse(
    rng: np.random.Generator, sector: NDArray[np.int64], beta: Array, density: float
) -> Array:
    """`density` of the pairs inside sectors, and 16 across; one in eight of them negative."""
    same = sector[:, None] == sector
    coupled = same & (rng.random(same.shape) < density)
    across = np.argwhere(np.triu(~same))
    coupled[tuple(across[rng.choice(len(across), min(16, len(across)), replace=False)].T)] = True
    rho = (0.12 + rng.gamma(2, 0.08, same.shape)) * np.where(rng.random(same.shape) < 0.12, -1, 1)
    return _mirror(np.where(coupled, rho, 0.0)) * np.sqrt(np.outer(beta, beta))


def _mirror(values: Array) -> Array:
    """The upper triangle on both sides, zero diagonal."""
    upper = np.triu(values, 1)
    return np.asarray(upper + upper.T)


def _admissible(couplings: Array, beta: Array) -> Array:
    """Shrunk, as often as it takes, until no round trip is free."""
    couplings = couplings - np.diag(np.diag(couplings))
    while np.linalg.eigvalsh(couplings + np.diag(beta))[0] < SMALLEST_EIGENVALUE:
        couplings = 0.9 * couplings
    return couplings


def _wander(rng: np.random.Generator, traits: Traits, start: Array, beta: Array) -> Array:
    """Where the couplings are at the window's end."""
    if not traits.drift:
        return start
    factor = np.exp(rng.normal(-0.1, traits.drift, start.shape))
    return _admissible(start * _mirror(factor), beta)
