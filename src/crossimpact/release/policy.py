"""The desk's decisions: `policy.toml`, as typed and checked objects.

Nothing else holds these numbers. Whoever needs one is handed it; what is in `DEFAULT` is what a
function does that was told nothing.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from crossimpact.ladder import RUNGS, Rung

FILE = "policy.toml"


def _within(name: str, value: float, low: float, high: float, allowed: str) -> None:
    """Refuse a number outside ``(low, high]``."""
    if not (math.isfinite(value) and low < value <= high):
        raise ValueError(f"{name} = {value:g}, must be {allowed}")


def _share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} = {value:g}, must be a share in (0, 1)")


@dataclass(frozen=True)
class MaxPov:
    """Largest share of the market's volume to trade at, by rung that answers."""

    full: float
    sector_block: float
    one_factor: float
    self_only: float
    fixed_pov: float

    def __post_init__(self) -> None:
        for rung, pov in self.by_rung().items():
            _within(rung, pov, 0, 1, "a share of volume in (0, 1]")

    def by_rung(self) -> dict[Rung, float]:
        return {rung: getattr(self, rung) for rung in RUNGS}


@dataclass(frozen=True)
class GuardrailQuantiles:
    """Quantiles of the window's own buckets at which the levels stand."""

    amber: float
    red: float

    def __post_init__(self) -> None:
        _share("amber", self.amber)
        _share("red", self.red)
        if self.amber > self.red:
            raise ValueError(f"amber = {self.amber:g} must not exceed red = {self.red:g}")


@dataclass(frozen=True)
class GuardrailAges:
    """How old the market data, seconds, and the model's last confirmation, days, may become."""

    data_amber_s: float
    data_red_s: float
    model_amber_days: float
    model_red_days: float

    def __post_init__(self) -> None:
        for what, unit in (("data", "s"), ("model", "days")):
            amber, red = (getattr(self, f"{what}_{colour}_{unit}") for colour in ("amber", "red"))
            if not 0 < amber <= red < math.inf:
                raise ValueError(
                    f"{what}_amber_{unit} = {amber:g} and {what}_red_{unit} = {red:g} must be > 0, "
                    "amber <= red"
                )


@dataclass(frozen=True)
class GuardrailPolicy:
    """Where a release's guardrails stand: percentiles of CPI and IBB, and ages."""

    cpi: GuardrailQuantiles
    ibb: GuardrailQuantiles
    ages: GuardrailAges


@dataclass(frozen=True)
class RefitPolicy:
    """What a refit decides by.

    Attributes
    ----------
    window_days
        Trading dates in a window unless asked otherwise.
    false_discovery_rate
        Expected share of kept pairs that are not coupled.
    min_edge_bps
        Coupling at typical flow below which a pair is not kept, bps.
    max_pov, guardrails
        Of the release it makes.
    """

    window_days: int
    false_discovery_rate: float
    min_edge_bps: float
    max_pov: MaxPov
    guardrails: GuardrailPolicy

    def __post_init__(self) -> None:
        _within("window_days", self.window_days, 0, 1000, "1 to 1000 trading dates")
        _share("false_discovery_rate", self.false_discovery_rate)
        if not 0 <= self.min_edge_bps < math.inf:
            raise ValueError(f"min_edge_bps = {self.min_edge_bps:g}, must be bps >= 0")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a refit's plan and a release's report."""
        return asdict(self)


@dataclass(frozen=True)
class ReleasePolicy:
    """How long a release may answer, and what answers without one.

    Attributes
    ----------
    valid_for_days
        After its `as_of`.
    max_age_days
        After a pull last confirmed it.
    fixed_pov
        Share of the market's volume to trade at without any release.
    """

    valid_for_days: int
    max_age_days: float
    fixed_pov: float

    def __post_init__(self) -> None:
        _within("valid_for_days", self.valid_for_days, 0, 3650, "1 to 3650 days")
        _within("max_age_days", self.max_age_days, 0, 3650, "days, > 0 and at most 3650")
        _within("fixed_pov", self.fixed_pov, 0, 1, "a share of volume in (0, 1]")

    @property
    def valid_for(self) -> timedelta:
        return timedelta(days=self.valid_for_days)

    @property
    def max_age(self) -> timedelta:
        return timedelta(days=self.max_age_days)


@dataclass(frozen=True)
class DriftPolicy:
    """`alpha`: share of the years without a change that may see an alarm."""

    alpha: float

    def __post_init__(self) -> None:
        _share("alpha", self.alpha)


@dataclass(frozen=True)
class RetentionPolicy:
    """Days after which `crossimpact gc` may remove what no record names; the size of a log.

    Attributes
    ----------
    partitions_days
        Superseded partition files, after they were written.
    refits_days
        Folders of refits whose release was never promoted.
    reports_days
        Pages of a date or month.
    logs_days
        Files of logs, after they were last written.
    log_mb
        Size in 10^6 bytes beyond which a log that is still written to begins anew.
    """

    partitions_days: int
    refits_days: int
    reports_days: int
    logs_days: int
    log_mb: int

    def __post_init__(self) -> None:
        for name in ("partitions_days", "refits_days", "reports_days", "logs_days"):
            _within(name, getattr(self, name), 0, 36500, "1 to 36500 days")
        _within("log_mb", self.log_mb, 0, 10_000, "1 to 10000 MB")


@dataclass(frozen=True)
class DeskPolicy:
    """Every decision."""

    refit: RefitPolicy
    release: ReleasePolicy
    drift: DriftPolicy
    retention: RetentionPolicy

    def __post_init__(self) -> None:
        kept, valid = self.retention.refits_days, self.release.valid_for_days
        if kept <= valid:
            raise ValueError(
                f"retention.refits_days = {kept} must exceed release.valid_for_days = {valid}: "
                "a release that may be promoted needs its refit"
            )


def refit_policy(data: Mapping[str, Any]) -> RefitPolicy:
    """Inverse of `RefitPolicy.to_dict`."""
    pov, levels = MaxPov(**data["max_pov"]), guardrail_policy(data["guardrails"])
    return RefitPolicy(**{**data, "max_pov": pov, "guardrails": levels})


def guardrail_policy(data: Mapping[str, Any]) -> GuardrailPolicy:
    """From plain data; plans written before CPI and IBB had one pair of quantiles, which nothing
    reads any longer."""
    known = data if "cpi" in data else defaults()["refit"]["guardrails"]
    cpi, ibb = (GuardrailQuantiles(**known[name]) for name in ("cpi", "ibb"))
    return GuardrailPolicy(cpi, ibb, GuardrailAges(**known["ages"]))


def defaults() -> dict[str, Any]:
    """The plain data of the `policy.toml` beside this module."""
    return tomllib.loads(Path(__file__).with_name(FILE).read_text(encoding="utf-8"))


def _shipped() -> DeskPolicy:
    data = defaults()
    return DeskPolicy(
        refit_policy(data["refit"]),
        ReleasePolicy(**data["release"]),
        DriftPolicy(**data["drift"]),
        RetentionPolicy(**data["retention"]),
    )


DEFAULT = _shipped()
