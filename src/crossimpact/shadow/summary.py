"""A date's rows as a person reads them: a line per policy, with what is claimed and the worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crossimpact.shadow.counterfactual import EXECUTED
from crossimpact.shadow.tables import DayRow, Kernel, Policy


@dataclass(frozen=True)
class PolicyLine:
    """A policy on a date, by the independent judge; bps of the notional, gains positive.

    Attributes
    ----------
    claimed_bps
        The gain by the chooser's own numbers.
    worst_kernel, worst_bps
        The other kernel by which it gains least, and that gain.
    verdict
        Empty for what was executed: nothing is held against it.
    """

    policy: Policy
    is_bps: float
    gain_bps: float
    gain_lo_bps: float
    gain_hi_bps: float
    share_gain: float
    claimed_bps: float
    worst_kernel: Kernel
    worst_bps: float
    p90_bps: float
    p95_bps: float
    bad_fills: int
    completion: float
    placebo_gain_bps: float
    verdict: str


def headline(daily: Sequence[DayRow], policy: Policy = "optimal") -> DayRow:
    """The row a day stands for: the policy by the independent judge, the judge's own kernel."""
    return next(
        row for row in daily
        if (row.policy, row.judge, row.kernel) == (policy, "independent", "release")
    )  # fmt: skip


def lines(daily: Sequence[DayRow]) -> list[PolicyLine]:
    """Of every policy of a date, in the rows' order."""
    return [_line(daily, policy) for policy in dict.fromkeys(row.policy for row in daily)]


def _line(daily: Sequence[DayRow], policy: Policy) -> PolicyLine:
    row = headline(daily, policy)
    those = [each for each in daily if each.policy == policy]
    claimed = next(r for r in those if (r.judge, r.kernel) == ("claimed", "release"))
    others = [r for r in those if r.judge == "independent" and r.kernel != "release"]
    worst = min(others, key=lambda r: r.gain_bps)
    return PolicyLine(
        policy, row.is_bps, row.gain_bps, row.gain_lo_bps, row.gain_hi_bps, row.share_gain,
        claimed.gain_bps, worst.kernel, worst.gain_bps, row.p90_bps, row.p95_bps, row.bad_fills,
        row.completion, row.placebo_gain_bps, "" if policy == EXECUTED else row.verdict,
    )  # fmt: skip
