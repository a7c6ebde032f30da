"""Columns of the shadow's tables: what a policy would have paid, basket by basket and day by day.

Bps are of the notional ordered; costs are positive when worse for the desk, gains when the policy
is cheaper than what was executed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: `executed` is what the desk did; `optimal` and `ranked` may use every coupling of the chooser.
Policy = Literal["executed", "twap", "vwap", "self_only", "sector_block", "ranked", "optimal"]
#: Fitted on other days than the chooser, or the chooser judging itself.
Judge = Literal["independent", "claimed"]
#: Decay of the judge's impact: the release's own, or another one in its place; `sqrt` is own impact
#: that grows with the square root of the flow.
Kernel = Literal["release", "none", "exponential", "power", "sqrt"]
Verdict = Literal["gain", "loss", "unproven", "outside evidence"]
#: Why a basket is no evidence: it has orders of other dates, names no model knows or without market
#: volume.
Status = Literal["ok", "spans days", "unknown name", "no volume"]


@dataclass(frozen=True)
class BasketRow:
    """A row of `shadow_baskets`: a basket of a date under a policy, by the release's own kernel.

    Attributes
    ----------
    basket_id
        The parents' `basket_id`; an order without one is a basket of its own, by its `order_id`.
    notional_usd
        Ordered, at the decision prices.
    is_usd, is_bps
        Implementation shortfall under the policy; what is not filled is charged at the close.
    executed_is_bps
        The realized one, of what was executed.
    gain_bps, gain_lo_bps, gain_hi_bps
        ``executed_is_bps - is_bps``, and the 95% interval over the judge's draws.
    share_gain
        Of the draws, with a gain > 0.
    market_bps
        Control: the market's move over the order's life, signed as a cost.
    spread_bps
        Control: half the quoted spread at the start, weighted by notional.
    other_expected_bps
        Control: what the other half's model expects of what was executed.
    outside_evidence
        Share of the policy's notional traded at a participation beyond the 99% of history.
    status
        Whether the basket is evidence, and why not.
    """

    date: str
    basket_id: str
    policy: Policy
    judge: Judge
    notional_usd: float
    is_usd: float
    is_bps: float
    executed_is_bps: float
    gain_bps: float
    gain_lo_bps: float
    gain_hi_bps: float
    share_gain: float
    market_bps: float
    spread_bps: float
    other_expected_bps: float
    outside_evidence: float
    status: Status


@dataclass(frozen=True)
class DayRow:
    """A row of `shadow_daily`: a date under a policy, a judge and a kernel.

    Attributes
    ----------
    baskets, notional_usd
        Those that are evidence.
    is_bps, gain_bps, gain_lo_bps, gain_hi_bps, share_gain
        As of a basket, for all of them together.
    p90_bps, p95_bps
        Of the baskets' `is_bps`.
    bad_fills, bad_fill_cost_usd
        Buckets in which coupled names were traded together at a cross cost, and that cost.
    participation
        Share of the market's volume (without own flow) in the buckets traded, weighted by notional.
    completion
        Filled over ordered.
    placebo_gain_bps
        The gain with the schedules judged on another day's prices: must vanish.
    verdict
        ``unproven`` when more than a tenth of the draws say otherwise.
    """

    date: str
    policy: Policy
    judge: Judge
    kernel: Kernel
    baskets: int
    notional_usd: float
    is_bps: float
    gain_bps: float
    gain_lo_bps: float
    gain_hi_bps: float
    share_gain: float
    p90_bps: float
    p95_bps: float
    bad_fills: int
    bad_fill_cost_usd: float
    participation: float
    completion: float
    placebo_gain_bps: float
    verdict: Verdict
