"""What a client serves: a release or a fixed share of volume, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from crossimpact import contract
from crossimpact.consumer.cache import CachedRelease
from crossimpact.release.bundle import UNKNOWN, Answer, Release
from crossimpact.release.policy import DEFAULT

State = Literal["live", "last_known_good", "fallback"]


def age(release: Release, now: datetime) -> timedelta:
    """How long ago, UTC, the release's date began."""
    return now - datetime.fromisoformat(release.as_of).replace(tzinfo=UTC)


def expired(
    release: Release, now: datetime, valid_for: timedelta = DEFAULT.release.valid_for
) -> str:
    """Why the release must not answer at that moment, UTC; empty when it may."""
    old, what = age(release, now), f"release {release.id} as of {release.as_of}"
    if old > valid_for:
        return f"{what} has expired: on {now.date()} it is older than {valid_for.days} days"
    if old < -timedelta(days=contract.MAX_DAYS_AHEAD):
        return f"{what} is of the future: it is {now.date()}, or a clock is wrong"
    return ""


@dataclass(frozen=True)
class Served:
    """What answers, and why; immutable.

    Attributes
    ----------
    state
        `live`, `last_known_good` or `fallback`.
    reason
        One line: why this, and nothing better.
    since
        When the state or the release last changed.
    good
        The last release that verified; in `fallback` it answers no more, if there is one.
    fixed_pov
        Share of the market's volume to trade at when no release is there to say another.
    """

    state: State
    reason: str
    since: datetime
    good: CachedRelease | None = None
    fixed_pov: float = DEFAULT.release.fixed_pov

    @property
    def release(self) -> Release | None:
        """Who answers, None in `fallback`."""
        return self.good.release if self.good and self.state != "fallback" else None

    @property
    def digest(self) -> str | None:
        return self.good.digest if self.good and self.release else None

    @property
    def version(self) -> int | None:
        return self.good.version if self.good and self.release else None

    @property
    def confirmed_at(self) -> datetime | None:
        """When a pull last found the release to be champion."""
        return self.good.confirmed_at if self.good else None

    def answer(self, regime: str) -> Answer:
        """Who answers for a regime: a model, or a fixed share of volume; never nobody."""
        if self.release:
            return self.release.model_for(regime)
        policies = self.good.release.fallback if self.good else {}
        policy = policies.get(regime) or policies.get(UNKNOWN)
        pov = policy.max_pov["fixed_pov"] if policy else self.fixed_pov
        return Answer(None, "fixed_pov", self.reason, pov)

    def regimes(self) -> list[str]:
        """Those the release has an answer for, beside `unknown`."""
        return sorted(self.good.release.fallback) if self.good else [UNKNOWN]

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain data: per regime which rung and how fast it may trade."""
        return {
            "state": self.state,
            "reason": self.reason,
            "digest": self.digest,
            "version": self.version,
            "confirmed_at": self.confirmed_at.isoformat() if self.confirmed_at else None,
            "regimes": [self._row(regime) for regime in self.regimes()],
        }

    def _row(self, regime: str) -> dict[str, Any]:
        model, rung, reason, max_pov = self.answer(regime)
        edges = model.edges if model else None
        return {
            "regime": regime, "rung": rung, "edges": edges, "max_pov": max_pov, "reason": reason,
        }  # fmt: skip

    @property
    def who(self) -> tuple[object, ...]:
        """State, release and the rungs it is held to: what makes a change worth a line."""
        return self.state, self.digest, self.release and self.release.held

    def __str__(self) -> str:
        who = f"release {self.good.id}" if self.good and self.release else "a fixed share of volume"
        return f"{self.state}: {who} answers: {self.reason}"
