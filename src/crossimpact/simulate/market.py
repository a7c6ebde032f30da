"""What is true of the demo market: names, volumes, spreads, regimes and planted impact."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crossimpact.ladder import REGIMES
from crossimpact.model import Array, ImpactModel, from_scaled
from crossimpact.simulate.spec import MAX_SYMBOLS, TICK, DeskSpec, Ints, Times

#: Stress multiplies volatility, spread and depth by these.
STRESS_VOL, STRESS_SPREAD, STRESS_DEPTH = 2.0, 1.8, 0.5
#: Share of aggressive fills, and what part of the half-spread a passive fill earns.
AGGRESSIVE_SHARE, PASSIVE_EARNS = 0.6, 0.4
#: Price response to peers, bps per unit of their flow as a fraction of their ADV.
PEER_SECTOR_BPS, PEER_FACTOR_BPS = 1000.0, 750.0
_SECTOR_NAMES = (
    "Energy", "Technology", "Banks", "Health", "Retail", "Autos",
    "Utilities", "Materials", "Media", "Transport", "Insurance", "Chemicals",
)  # fmt: skip
#: Legal tickers that careless readers take for booleans, nulls or numbers.
_CANARIES = ("TRUE", "NA", "QX.B", "1E5")
#: Own impact that the mid keeps at the bucket's end in the normal regime, bps per unit of ADV.
_MID_BETA = 1000, 2500
_REGIME_BLOCK_DAYS = 5
_MIN_EIGENVALUE = 0.05


@dataclass(frozen=True)
class Truth:
    """What is true of the market; nothing here is shown to the estimator.

    Attributes
    ----------
    spec
        What it was drawn from.
    models
        The planted `ImpactModel` of each regime. `alpha` is not planted but implied: the expected
        cost of crossing and earning the spread.
    sector
        Index into `sector_names`, shape (n,).
    half_spread
        bps by regime, shape (n,).
    volatility, market_beta
        Relative noise and loading on the market of each name, shape (n,).
    open_px
        Opening mid by day, shape (days, n).
    lot
        Shares per lot, shape (n,).
    regime
        Index into `REGIMES`, shape (days, buckets).
    """

    spec: DeskSpec
    models: dict[str, ImpactModel]
    sector_names: tuple[str, ...]
    sector: Ints
    half_spread: dict[str, Array]
    volatility: Array
    market_beta: Array
    open_px: Array
    lot: Ints
    regime: Ints

    @property
    def symbols(self) -> tuple[str, ...]:
        return self.models[REGIMES[0]].symbols

    @property
    def adv(self) -> Array:
        return self.models[REGIMES[0]].adv

    def matrices(self, day: int) -> Array:
        """``A = gamma + diag(beta)`` of a day by regime, as fills pay it, shape (2, n, n), bps per
        ADV fraction."""
        faded = day >= self.spec.days - self.spec.fade_days
        share = self.spec.fade if faded else 1.0
        models = (self.models[regime] for regime in REGIMES)
        return np.stack([share * model.gamma + np.diag(model.beta) for model in models])

    @cached_property
    def sector_adv(self) -> Array:
        """ADV of each name's sector, USD, shape (n,)."""
        totals = np.bincount(self.sector, self.adv).astype(np.float64)
        return totals[self.sector]

    def half_spread_at(self, day: int, bucket: Ints, symbol: Ints) -> Array:
        """Half-spread in bps of each (bucket, symbol) of a day."""
        by_regime = np.stack([self.half_spread[regime] for regime in REGIMES])
        half: Array = by_regime[self.regime[day][bucket], symbol]
        return half

    def bucket_ts(self, day: int) -> Times:
        """Bucket starts of a day, UTC."""
        seconds = np.arange(self.spec.buckets) * self.spec.bucket_s
        starts: Times = self.spec.open_ts(day) + seconds.astype("timedelta64[s]")
        return starts


def plan_market(spec: DeskSpec) -> Truth:
    """Draw the truth of a demo market.

    Parameters
    ----------
    spec
        Size and seed.

    Returns
    -------
    Truth
        Planted matrices are symmetric in dollars and positive definite with self impact on the
        diagonal: the smallest eigenvalue in scaled space is at least 5% of the smallest beta.
    """
    n, rng = spec.symbols, spec.stream(0)
    symbols = _names(n, rng)
    count = spec.sectors or max(1, n // 5)
    sector = rng.permutation(np.arange(n) % count)
    names = tuple(
        _SECTOR_NAMES[k] if k < len(_SECTOR_NAMES) else f"Sector-{k + 1}" for k in range(count)
    )
    adv = np.round(np.clip(np.exp(rng.normal(np.log(2.5e8), 1.0, n)), 3e7, 2e9), -3)
    price = np.clip(np.exp(rng.normal(np.log(90), 0.5, n)), 30, 280)
    half_spread = np.maximum(rng.uniform(1.0, 2.5, n), 0.75 * TICK / price * 1e4)
    spreads = {"normal": half_spread, "stressed": half_spread * STRESS_SPREAD}
    aggressive = AGGRESSIVE_SHARE - (1 - AGGRESSIVE_SHARE) * PASSIVE_EARNS
    models = {
        regime: ImpactModel(
            symbols=symbols,
            sectors=tuple(names[k] for k in sector),
            adv=adv,
            regime=regime,
            alpha=aggressive * spreads[regime],
            beta=beta,
            gamma=from_scaled(scaled, adv),
            provenance={"planted": True, "seed": spec.seed},
            kernel=spec.kernel,
        )
        for regime, (beta, scaled) in zip(
            REGIMES, _impact(sector, spec.fill_ratio, rng), strict=True
        )
    }
    return Truth(
        spec=spec,
        models=models,
        sector_names=names,
        sector=sector,
        half_spread=spreads,
        volatility=rng.uniform(0.85, 1.15, n),
        market_beta=np.round(rng.uniform(0.7, 1.3, n), 2),
        open_px=_open_prices(price, spec),
        lot=np.where(price < 100, 10, 1),
        regime=_regimes(spec),
    )


def _names(n: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Made-up tickers, sorted; canaries among them from ten names on."""
    letters = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    drawn = ("".join(word) for word in rng.choice(letters, (4 * MAX_SYMBOLS, 4)))
    canaries = _CANARIES if n >= 10 else ()
    names = dict.fromkeys((*canaries, *drawn))
    return tuple(sorted(list(names)[:n]))


def _open_prices(price: Array, spec: DeskSpec) -> Array:
    """Opening mids, a slow walk from day to day kept between 20 and 300."""
    nights = spec.stream(1).normal(0.0, 0.008, (spec.days, len(price)))
    opens: Array = np.clip(price * np.exp(np.cumsum(nights, axis=0)), 20.0, 300.0)
    return opens


def _impact(sector: Ints, fill_ratio: float, rng: np.random.Generator) -> list[tuple[Array, Array]]:
    """beta and the scaled cross matrix of the normal, then of the stressed regime, as fills pay
    them."""
    n = len(sector)
    beta = np.round(fill_ratio * rng.uniform(*_MID_BETA, n), 1)
    same = sector[:, None] == sector[None, :]
    rho = np.where(same, _symmetric(rng.uniform(0.2, 0.4, (n, n))), 0.0)
    far = np.argwhere(np.triu(~same, 1))
    far = far[rng.permutation(len(far))[: max(2, round(n / 4)) + 1]]
    strength = np.where(rng.random(len(far)) < 0.3, -0.3, rng.uniform(0.35, 0.6, len(far)))
    amplify = _symmetric(rng.uniform(1.3, 1.6, (n, n)))
    # Under stress the first lonely edge is gone and the last one, silent until then, appears.
    normal = rho + _edges(n, far[:-1], strength[:-1])
    stressed = rho * amplify + _edges(n, far[1:], strength[1:])
    stressed_beta = np.round(beta * rng.uniform(1.5, 1.8, n), 1)
    return [
        (b, _admissible(coupling * np.sqrt(np.outer(b, b)), b))
        for b, coupling in ((beta, normal), (stressed_beta, stressed))
    ]


def _symmetric(values: Array) -> Array:
    upper: Array = np.triu(values, 1)
    return upper + upper.T


def _edges(n: int, pairs: Ints, strength: Array) -> Array:
    matrix = np.zeros((n, n))
    matrix[pairs[:, 0], pairs[:, 1]] = strength
    return matrix + matrix.T


def _admissible(scaled: Array, beta: Array) -> Array:
    """Shrink the cross terms until the form has a margin of positive definiteness."""
    while np.linalg.eigvalsh(scaled + np.diag(beta))[0] < _MIN_EIGENVALUE * beta.min():
        scaled = 0.97 * scaled
    return scaled


def _regimes(spec: DeskSpec) -> Ints:
    """Regime index by day and bucket: runs of the whole market, from blocks of five days."""
    shape = (spec.days, spec.buckets)
    if not spec.stressed:
        return np.zeros(shape, dtype=np.int64)
    blocks = -(-spec.days // _REGIME_BLOCK_DAYS)
    states = np.concatenate([_regime_block(spec, block) for block in range(blocks)])
    return states[: spec.days * spec.buckets].reshape(shape)


def _regime_block(spec: DeskSpec, block: int) -> Ints:
    """Five days that open normal, redrawn until 20 to 40% is stressed, some of it by day two."""
    rng, size = spec.stream(2, block), _REGIME_BLOCK_DAYS * spec.buckets
    while True:
        normal = 0.5 + rng.exponential(1.0, 16)
        stressed = 0.2 + rng.exponential(0.3, 16)
        runs = np.stack([normal, stressed], axis=1).ravel() * spec.buckets
        states = np.repeat(np.arange(runs.size) % 2, np.ceil(runs).astype(np.int64))[:size]
        if 0.2 <= states.mean() <= 0.4 and states[: 2 * spec.buckets].mean() >= 0.1:
            return states
