"""Planted universes: a model of sectors and single pairs, and a desk that trades all its names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from crossimpact.kernel.decay import Decay
from crossimpact.model import ImpactModel
from crossimpact.policy.scheduling import caps as limits
from crossimpact.policy.scheduling import couplings
from crossimpact.policy.scheduling import desk as desks
from crossimpact.policy.scheduling.caps import Caps
from crossimpact.policy.scheduling.layout import Layout
from crossimpact.policy.scheduling.program import Program
from crossimpact.policy.state import Caps as CapsOfState
from crossimpact.policy.state import DeskState, Flow, Name, Parent, Risk
from crossimpact.release.bundle import Answer
from crossimpact.scaled import from_scaled

AT = datetime(2026, 3, 27, 14, 30, tzinfo=UTC)


def model_of(
    n: int, sectors: int = 3, pairs: int = 0, seed: int = 0, kernel: bool = True, **fields: Any
) -> ImpactModel:
    """Sector couplings 0.15 of own impact, 0.05 across, names' levels, and single pairs on top."""
    rng = np.random.default_rng(seed)
    sector = np.arange(n) % sectors
    middle = np.full((sectors, sectors), 0.05) + np.diag(np.full(sectors, 0.1))
    level = rng.uniform(0.5, 1.0, n)
    matrix = middle[np.ix_(sector, sector)] * level[:, None] * level
    for _ in range(pairs):
        i, j = rng.choice(n, 2, replace=False)
        matrix[i, j] = matrix[j, i] = matrix[i, j] + 0.1
    np.fill_diagonal(matrix, 0.0)
    adv, beta = np.exp(rng.normal(18, 1, n)), np.exp(rng.normal(7, 0.3, n))
    unit = np.sqrt(beta)
    decay = Decay.from_half_life(30, 0.2, scale_self=1.1, scale_cross=0.9) if kernel else None
    given: dict[str, Any] = {
        "symbols": tuple(f"S{i:04d}" for i in range(n)),
        "sectors": tuple(f"sector{k}" for k in sector),
        "adv": adv,
        "regime": "normal",
        "alpha": rng.uniform(0.5, 2, n),
        "beta": beta,
        "gamma": from_scaled(matrix * unit[:, None] * unit, adv),
        "kernel": decay,
    }
    return ImpactModel(**given | fields)


def state_of(
    model: ImpactModel, horizon: int = 4, seed: int = 1, tight: bool = True, **fields: Any
) -> DeskState:
    """A parent in every name, some quantity at the market, fills of the past; `tight` adds caps on
    sectors and risk that bind."""
    rng = np.random.default_rng(seed)
    names, parents, gross = [], [], 0.0
    for i, symbol in enumerate(model.symbols):
        mid = float(rng.uniform(10, 200))
        volume = float(model.adv[i] / 78 / mid)
        quantity = float(rng.normal(0, 0.02) * model.adv[i] / mid)
        gross += abs(quantity) * mid
        working = 0.03 * volume * float(np.sign(quantity)) if rng.uniform() < 0.3 else 0.0
        past = (Flow(0.0, 0.1 * volume), Flow(float(rng.uniform(5, 40)), -0.05 * volume))
        names.append(
            Name(
                symbol, mid, float(rng.uniform(1, 6)), volume, working=working,
                volatility_bps=float(rng.uniform(5, 20)), flow=past,
            )
        )  # fmt: skip
        parents.append(
            Parent(
                f"p{i}", symbol, quantity, float(rng.uniform(4, 200)),
                alpha_bps=float(rng.normal(5, 8)), alpha_half_life_min=float(rng.uniform(10, 100)),
            )
        )  # fmt: skip
    caps = CapsOfState(0.15, gross / 60, gross * 4e-5) if tight else CapsOfState(0.15)
    given: dict[str, Any] = {
        "at": AT,
        "regime": model.regime,
        "names": tuple(names),
        "parents": tuple(parents),
        "horizon": horizon,
        "caps": caps,
        "risk": Risk(1e-7),
    }
    return DeskState(**given | fields)


def with_name(state: DeskState, symbol: str, **fields: Any) -> DeskState:
    """The state with other numbers of one name."""
    names = tuple(
        msgspec.structs.replace(name, **fields) if name.symbol == symbol else name
        for name in state.names
    )
    return msgspec.structs.replace(state, names=names)


def answer_of(model: ImpactModel | None, max_pov: float = 0.15) -> Answer:
    return Answer(model, "full" if model else "fixed_pov", "" if model else "3 buckets", max_pov)


def posed(model: ImpactModel, state: DeskState, pov: float = 0.15) -> tuple[Program, Caps]:
    desk = desks.of(state, dict(zip(model.symbols, model.sectors, strict=True)))
    return Program(desk, Layout.of(desk, model, couplings.of(model))), limits.of(desk, pov)
