"""Lines whose flows nearly coincide: what cannot be told apart, and how its impact is split.

Share classes traded together, an ETF against its members: the data tell what they move *together*,
not which part is a line's own impact and which the other's. Left to shrinkage the own impact keeps
nearly all of it and cross costs come out too small. So it is said (`recorded`), and the pair is
split as Kyle's model splits it for two lines of equal flow (Caballe and Krishnan 1994): with r the
correlation of what own terms leave of their moves, a coupling of ``b / a`` of own impacts,
``a, b = (sqrt(1 + r) +- sqrt(1 - r)) / 2``: nearly all where the lines are one asset (r near 1),
nothing where they have nothing in common but the desk's hand. What little the data say of the
split is weighed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossimpact.model import Array

KEY = "indistinguishable"  # of the model's provenance
MAX_CONDITION = 30.0  # of the correlation of two flows: a correlation of 0.935
SPREAD = 0.25  # of a pair's coupling around Kyle's split, in own impacts
MIN_BUCKETS = 2  # per name, for one flow against all others
MEMBERS = 5  # of a basket that are named
RECORDED = 50  # pairs at most


@dataclass(frozen=True)
class Twins:
    """Pairs that cannot be told apart, all (n, n).

    Attributes
    ----------
    pairs
        Where the condition of the two flows' correlation exceeds `MAX_CONDITION`.
    flows, moves
        Correlation of the flows; of what own terms leave of the mid moves.
    """

    pairs: NDArray[np.bool_]
    flows: Array
    moves: Array

    @property
    def split(self) -> Array:
        """Kyle's coupling over the root of own impacts that were fitted alone, and so hold what
        the other's flow moved."""
        r = np.clip(self.moves, 0.0, 1.0)
        up, down = np.sqrt(1 + r), np.sqrt(1 - r)
        kyle = (up - down) / (up + down)
        return np.asarray(np.where(self.pairs, kyle / (1 + kyle * self.flows), 0.0))

    def told(self, coupling: Array, force: Array, curvature: Array) -> tuple[Array, Array]:
        """Couplings of these pairs and their standard errors: `split`, or what other pairs make
        likely where that is more, and what the data say.

        Parameters
        ----------
        coupling, force, curvature
            Where the pairs are, minus the slope of half the squared error there, and its curvature.
        """
        precision = curvature + SPREAD**-2
        said = curvature * coupling + force
        likely = np.maximum(self.split, coupling)
        return (said + likely * SPREAD**-2) / precision, 1 / np.sqrt(precision)


def twins(gram: Array, noise: Array) -> Twins:
    """Pairs that second moments of flows and of moves net of own terms, both (n, n), show."""
    flows = correlation(gram)
    size = np.abs(flows)
    pairs = 1 + size > MAX_CONDITION * (1 - size)
    np.fill_diagonal(pairs, False)
    return Twins(pairs, flows, correlation(noise))


def correlation(moments: Array) -> Array:
    """Uncentred correlation of second moments; 0 for a line without any."""
    size = np.sqrt(np.diagonal(moments))
    inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    return np.asarray(np.clip(moments * np.outer(inverse, inverse), -1.0, 1.0))


def recorded(symbols: Sequence[str], found: Twins, buckets: int) -> list[dict[str, Any]]:
    """Lines that cannot be told apart, worst first, as plain data: their names, the correlation of
    the first one's flow with the others', its condition and the limit."""
    first, second = np.nonzero(np.triu(found.pairs))
    rows = [
        _row([symbols[i], symbols[j]], float(abs(found.flows[i, j])))
        for i, j in zip(first.tolist(), second.tolist(), strict=True)
    ]
    alone = np.asarray(found.pairs.sum(axis=1) == 0)
    rows += _baskets(symbols, found.flows, alone) if buckets >= MIN_BUCKETS * len(alone) else []
    return sorted(rows, key=lambda row: (-row["condition"], row["lines"]))[:RECORDED]


def _row(lines: Sequence[str], size: float) -> dict[str, Any]:
    condition = (1 + size) / max(1 - size, 1e-12)
    return {"lines": [*lines], "correlation": size, "condition": condition, "limit": MAX_CONDITION}


def _baskets(
    symbols: Sequence[str], flows: Array, alone: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """Lines whose flow all others' together make up, as an ETF's its members' do."""
    traded = np.flatnonzero(alone & (np.diagonal(flows) > 0))
    if traded.size < 3:
        return []
    inverse = np.linalg.pinv(flows[np.ix_(traded, traded)], hermitian=True)
    rows = []
    for at in range(traded.size):
        multiple = np.sqrt(max(1 - 1 / max(inverse[at, at], 1.0), 0.0))
        if 1 + multiple <= MAX_CONDITION * (1 - multiple):
            continue
        weight = np.abs(inverse[at])
        weight[at] = 0.0
        members = traded[np.argsort(-weight, kind="stable")[:MEMBERS]].tolist()
        rows.append(_row([symbols[traded[at]], *(symbols[m] for m in members)], float(multiple)))
    return rows
