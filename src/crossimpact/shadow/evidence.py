"""Verdicts on gains, and the limits they are held against."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from crossimpact.scaled import Array
from crossimpact.shadow.tables import Kernel, Verdict

#: A gain whose sign more than this share of the draws deny is unproven.
FLIPPED = 0.1
#: Share of the notional beyond historic participation from which a day is outside the evidence.
OUTSIDE = 0.03
#: A gain of less filling: by how much of the notional, less than was executed, a policy may fill.
UNFILLED = 0.02
#: Quantile of historic participation up to which impact was seen.
SUPPORT = 0.99


def verdict(gains: Array, outside: float) -> Verdict:
    """What draws of a gain say, shape (draws,), with this share of the notional beyond history.

    A gain that is exactly zero is neither.
    """
    if not outside <= OUTSIDE:
        return "outside evidence"
    if (gains > 0).mean() >= 1 - FLIPPED:
        return "gain"
    if (gains < 0).mean() >= 1 - FLIPPED:
        return "loss"
    return "unproven"


def interval(gains: Array) -> tuple[float, float]:
    """95% of the draws."""
    low, high = np.quantile(gains, [0.025, 0.975])
    return float(low), float(high)


def agreed(said: Mapping[Kernel, Verdict], filled: float, executed: float) -> dict[Kernel, Verdict]:
    """Verdicts by kernel, held against each other: a gain by the judge's own is unproven where
    another kernel says loss, any gain where clearly less is filled than was executed (what is not
    filled pays no impact)."""
    result = dict(said)
    if said["release"] == "gain" and "loss" in said.values():
        result["release"] = "unproven"
    if not filled >= executed - UNFILLED:
        result |= {kernel: "unproven" for kernel, each in result.items() if each == "gain"}
    return result
