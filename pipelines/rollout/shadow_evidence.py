"""What the shadow says of a release's policy, day by day, in the numbers the gates ask."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from crossimpact.atomic import write_atomic
from crossimpact.policy.state import PolicyName
from crossimpact.release.bundle import Release
from crossimpact.rollout import confidence
from crossimpact.rollout.evidence import plain
from crossimpact.rollout.stages import Statistics
from pipelines import shadow_tables
from pipelines.rollout.places import Places
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

#: Kernels under which the gain has to hold; the square root is told and not asked.
JUDGED = ("release", "none", "exponential", "power")
LEVELS = (0.90, 0.95)


@dataclass(frozen=True)
class ShadowEvidence:
    """A policy's shadow over the dates that the champion was not fitted on.

    Attributes
    ----------
    days, missing
        Dates with an independent judge, and accepted ones without, which are named.
    claimed_only
        Dates on which the chooser alone judged itself: they are missing, too.
    gain_bps, gain_lo_bps, gain_hi_bps
        Mean of the days' gains by the independent judge under the kernel that is worst for the
        policy, with bounds of all looks together.
    claimed_bps
        The chooser's own number, which proves nothing.
    placebo_bps, placebo_lo_bps
        The same on another day's prices; must vanish.
    outside_evidence
        Share of notional traded beyond historic participation.
    p90_ratio, p95_ratio
        Of basket IS over that of what was executed: ``1 + (policy - executed) / |executed|``.
    verdicts
        How often each verdict was given.
    """

    days: int
    first: str
    last: str
    missing: tuple[str, ...]
    claimed_only: tuple[str, ...]
    gain_bps: float
    gain_lo_bps: float
    gain_hi_bps: float
    claimed_bps: float
    placebo_bps: float
    placebo_lo_bps: float
    outside_evidence: float
    p90_ratio: float
    p95_ratio: float
    verdicts: Mapping[str, int]

    def facts(self) -> dict[str, Any]:
        """By the names that gates use."""
        names = ("gain_lo_bps", "placebo_lo_bps", "outside_evidence", "p90_ratio", "p95_ratio")
        found = {name: getattr(self, name) for name in names}
        known = {name: value for name, value in found.items() if np.isfinite(value)}
        return known | {"missing_days": len(self.missing)}

    def to_dict(self) -> dict[str, Any]:
        """Plain data, what is not finite as None."""
        result: dict[str, Any] = plain(asdict(self))
        return result


@dataclass(frozen=True)
class ShadowDay:
    """A date of a policy's shadow; None where nobody judged.

    Attributes
    ----------
    gain_bps
        By the independent judge, under the kernel that is worst for the policy.
    """

    gain_bps: float | None
    claimed_bps: float | None
    placebo_bps: float | None
    verdict: str


def of_day(rows: Sequence[Mapping[str, Any]], policy: str) -> ShadowDay:
    """What a date's rows of `shadow_daily` say of a policy."""
    counted = [row for row in rows if row["policy"] == policy and row["kernel"] in JUDGED]
    counted.sort(key=lambda row: JUDGED.index(row["kernel"]))
    judged = [row for row in counted if row["judge"] == "independent"]
    claimed = [row["gain_bps"] for row in counted if row["judge"] == "claimed"]
    own = claimed[0] if claimed else None
    if not judged:
        return ShadowDay(None, own, None, "")
    gain = min(row["gain_bps"] for row in judged)
    return ShadowDay(gain, own, judged[0]["placebo_gain_bps"], judged[0]["verdict"])


def of_release(
    settings: Settings, release: Release, policy: PolicyName, asked: Statistics
) -> ShadowEvidence:
    """The shadow of the dates behind a release's window."""
    warehouse, layer = Warehouse(settings), shadow_tables.LAYER
    accepted = warehouse.dates("accepted", "parent_orders")
    dates = [date for date in accepted if date > release.window.last and date >= release.as_of]
    daily = {
        date: of_day(rows, policy)
        for date in dates
        if (rows := warehouse.rows(layer, shadow_tables.DAILY, date)) is not None
    }
    judged = {date: row for date, row in daily.items() if row.gain_bps is not None}
    baskets = [row for date in judged for row in _baskets(warehouse, date, policy)]
    gain, low, high = _mean([row.gain_bps for row in judged.values()], asked)
    placebo, placebo_low, _ = _mean([row.placebo_bps for row in judged.values()], asked)
    p90, p95 = _ratios(baskets)
    return ShadowEvidence(
        days=len(judged), first=min(judged, default=""), last=max(judged, default=""),
        missing=tuple(date for date in dates if date not in judged),
        claimed_only=tuple(date for date in daily if date not in judged),
        gain_bps=gain, gain_lo_bps=low, gain_hi_bps=high,
        claimed_bps=_mean([row.claimed_bps for row in daily.values()], asked)[0],
        placebo_bps=placebo, placebo_lo_bps=placebo_low,
        outside_evidence=_outside(baskets), p90_ratio=p90, p95_ratio=p95,
        verdicts=dict(Counter(row.verdict for row in judged.values())),
    )  # fmt: skip


def publish(settings: Settings, release: Release, found: ShadowEvidence) -> None:
    """Give the gates of a promotion what they ask of a shadow (`shadow_p90`, `shadow_p95`)."""
    if not found.days:
        return
    told = {name: found.facts().get(name) for name in ("p90_ratio", "p95_ratio")}
    told |= {"days": found.days, "first": found.first, "last": found.last}
    write_atomic(Places(settings.home).shadow(release.id), json.dumps(told, sort_keys=True))


def _baskets(warehouse: Warehouse, date: str, policy: str) -> list[dict[str, Any]]:
    """The date's baskets under a policy that are evidence."""
    rows = warehouse.rows(shadow_tables.LAYER, shadow_tables.BASKETS, date) or []
    asked = (policy, "independent", "ok")
    return [row for row in rows if (row["policy"], row["judge"], row["status"]) == asked]


def _mean(values: Sequence[float | None], asked: Statistics) -> tuple[float, float, float]:
    """Mean over days with bounds of all looks together; infinite in the first days."""
    daily = np.array([value for value in values if value is not None], dtype=float)
    if not len(daily):
        return np.nan, -np.inf, np.inf
    value = float(daily.mean())
    if len(daily) < confidence.FIRST:
        return value, -np.inf, np.inf
    wide = float(confidence.radius(len(daily), asked.alpha, asked.planned_days))
    wide *= float(daily.std(ddof=1)) / len(daily)
    return value, value - wide, value + wide


def _outside(baskets: Sequence[Mapping[str, Any]]) -> float:
    notional = np.array([row["notional_usd"] for row in baskets])
    shares = np.array([row["outside_evidence"] for row in baskets])
    return float(shares @ notional / notional.sum()) if len(baskets) else np.nan


def _ratios(baskets: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    """Of each level's quantile over baskets; the sign of the executed one does not turn it."""
    if not baskets:
        return tuple(np.nan for _ in LEVELS)
    policy, executed = (
        np.quantile([row[name] for row in baskets], LEVELS, method="inverted_cdf")
        for name in ("is_bps", "executed_is_bps")
    )
    ratios = 1 + (policy - executed) / np.maximum(np.abs(executed), 1.0)
    return tuple(ratios.tolist())
