"""An ETF desk: one line of 16 bn ADV beside names of 0.4 bn whose moves share the market's factor.

    .venv/bin/python -m benchmarks.etf            # every kind, seeds 0 to 2: what ships

Three worlds on the same flows and noise, in scaled dollar space ``Y = M x + noise``:

- ``symmetric``: every pair coupled by one factor, ``M_ij = u_i u_j``, u in proportion to the root
  of the own impact, half as much again or less by name: an admissible impact;
- ``asymmetric``: all lines move by about as many bps with the market's flow, the sum of shares of
  ADV: information. The ETF then answers to a dollar in a name forty times as much as the name to a
  dollar in the ETF, which dollar symmetry forbids an impact to do;
- ``alone``: own impact only.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmarks.desks import BUCKETS, FIRST_DATE, OPEN
from crossimpact.estimate.refit import fit_regime
from crossimpact.model import Array, from_scaled, to_scaled
from crossimpact.panel import Panel

Kind = Literal["symmetric", "asymmetric", "alone"]
KINDS: tuple[Kind, ...] = ("symmetric", "asymmetric", "alone")
ETF_ADV, NAME_ADV = 16e9, 0.4e9
FLOW = 1.5e-3  # standard deviation of a bucket's flow, ADV fraction
NOISE_BPS, FILL_BPS = 6.0, 4.0  # of a name's mid; the ETF's is half of it
LEVEL = 0.12  # of a pair's own impacts: the symmetric factor
ANSWER = 500.0  # bps per unit of the market's flow, in the asymmetric world


@dataclass(frozen=True)
class EtfDesk:
    """A panel, and what is true of it: own impact (n,) and what others' flow moves, scaled (n, n).

    `scaled` is symmetric but in the ``asymmetric`` world, where no symmetric part of it is impact.
    """

    panel: Panel
    beta: Array
    scaled: Array


def draw(kind: Kind, seed: int, *, names: int = 6, days: int = 20) -> EtfDesk:
    """Draw a desk of one ETF, the first symbol, and so many names.

    Flows of all lines lean one way together, as flows of a basket do.
    """
    rng = np.random.default_rng([seed, 12])
    n, length = names + 1, days * BUCKETS
    adv = np.append(ETF_ADV, NAME_ADV * np.exp(rng.normal(0, 0.2, names)))
    beta = np.append(rng.uniform(3000, 4000), rng.uniform(1500, 3000, names))
    truth = _scaled(kind, rng, beta, adv)
    q = FLOW * (
        np.sqrt(0.3) * rng.normal(size=(length, 1)) + np.sqrt(0.7) * rng.normal(size=(length, n))
    )
    q *= rng.random((length, n)) < 0.8
    noise = NOISE_BPS * np.append(0.5, np.ones(names))
    market = np.sqrt(0.3) * rng.normal(size=(length, 1))
    move = q * beta + q @ from_scaled(truth, adv).T
    move += noise * (market + np.sqrt(0.7) * rng.normal(size=(length, n)))
    paid = 1.0 + np.sign(q) * move + rng.normal(0, FILL_BPS, (length, n))
    return EtfDesk(_panel(adv, q, move, np.where(q != 0, paid, np.nan)), beta, truth)


def _scaled(kind: Kind, rng: np.random.Generator, beta: Array, adv: Array) -> Array:
    root = np.sqrt(beta)
    exposure = root * np.sqrt(LEVEL) * rng.uniform(0.6, 1.4, len(beta))
    truth = np.zeros((len(beta), len(beta)))
    if kind == "symmetric":
        truth = np.outer(exposure, exposure)
    if kind == "asymmetric":
        answer = ANSWER * rng.uniform(0.8, 1.2, len(beta))
        truth = answer[:, None] * np.sqrt(adv[:, None] / adv)
    np.fill_diagonal(truth, 0.0)
    return truth


def _panel(adv: Array, q: Array, move: Array, s: Array) -> Panel:
    day, bucket = np.divmod(np.arange(len(q)), BUCKETS)
    dates = np.busday_offset(FIRST_DATE, np.arange(day[-1] + 1), roll="forward")[day]
    return Panel(
        ts=dates.astype("datetime64[us]") + OPEN + bucket * np.timedelta64(300, "s"),
        date=dates.astype("datetime64[D]").astype(str),
        regime=np.full(len(q), "normal"),
        symbols=("ETF", *(f"N{i:02d}" for i in range(1, q.shape[1]))),
        sectors=("funds", *("names",) * (q.shape[1] - 1)),
        adv=adv,
        q=q,
        s=s,
        move=move,
        sector_flow=np.zeros_like(q),
        factor_flow=np.zeros_like(q),
    )


def error(scaled: Array, truth: Array) -> float:
    """Relative Frobenius error."""
    return float(np.linalg.norm(scaled - truth) / np.linalg.norm(truth))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--days", type=int, default=20)
    asked = parser.parse_args()
    print("| kind | seed | ships | control | R2 | one factor | rows | placebo gain | error |")
    print("|---" * 9 + "|")
    for kind in KINDS:
        for seed in range(asked.seeds):
            desk = draw(kind, seed, days=asked.days)
            fit = fit_regime(desk.panel, "normal")
            m = fit.metrics
            scaled = to_scaled(fit.model.gamma, fit.model.adv) if fit.model else 0 * desk.scaled
            told = f"{error(scaled, desk.scaled):.2f}" if kind == "symmetric" else "-"
            r2 = [f"{m[f'oos_r2_{x}']:.4f}" for x in ("shipped", "one_factor", "factor_rows")]
            cells = [kind, str(seed), fit.rung, f"{m['market_control']:.0f}", *r2]
            print(f"| {' | '.join([*cells, str(round(m['placebo_gain'], 4)), told])} |", flush=True)


if __name__ == "__main__":
    main()
