"""The plan of a refit: everything its steps need, so that any of them may run again elsewhere.

It lies in the refit's folder as JSON and travels between an orchestrator's tasks as the same; both
are read by `RefitPlan.from_dict` and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from crossimpact.errors import UsageError
from crossimpact.estimate.self_impact import Loss
from crossimpact.release.bundle import Release
from crossimpact.release.policy import DEFAULT, RefitPolicy
from pipelines.store.checked import checked
from pipelines.store.landing import Landing
from pipelines.store.settings import Flow, Settings

Date = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]


@dataclass(frozen=True)
class RefitPlan:
    """Which data are fitted, and how.

    Attributes
    ----------
    key
        Name of its folder under `home/refits`, from everything below.
    flow, bucket_s
        What q is, and the bucket width in seconds.
    landing
        The landing zone, absolute.
    dates
        Trading dates of the window, oldest first.
    loss
        Of the self fit.
    policy
        What the desk decided when it was planned; the library's in a plan older than that.
    """

    key: Annotated[str, StringConstraints(pattern=r"^[\w-]+$")]
    flow: Flow
    bucket_s: int
    landing: Path
    dates: Annotated[tuple[Date, ...], Field(min_length=1)]
    loss: Loss
    policy: RefitPolicy = DEFAULT.refit

    def under(self, settings: Settings) -> Settings:
        """`settings` with the plan's flow and bucket width."""
        return replace(settings, flow=self.flow, bucket_s=self.bucket_s)

    def folder(self, settings: Settings) -> Path:
        """Where the refit leaves its fits and its release."""
        return settings.home / "refits" / self.key

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON can hold it."""
        return {**asdict(self), "landing": str(self.landing), "dates": list(self.dates)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "plan of a refit") -> RefitPlan:
        """Inverse of `to_dict`.

        Raises
        ------
        UsageError
            Naming every key that is missing, unknown or out of its limits.
        """
        return checked(cls, data, where, "plan the refit again: run `crossimpact refit`")

    @classmethod
    def read(cls, path: Path) -> RefitPlan:
        """The plan in a refit's folder."""
        try:
            data = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise UsageError(f"plan {path} cannot be read: {error}", "refit again") from error
        return cls.from_dict(data, f"plan {path}")


def settings_for(settings: Settings, landing: Landing, flow: Flow | None) -> Settings:
    """`settings` with the flow asked, else the one the landing zone can give.

    Raises
    ------
    UsageError
        When own flow is asked without parent orders, public flow without public trades, or the
        landing zone has neither.
    """
    if flow == "own" and not landing.has_parents:
        raise UsageError(
            f"landing zone {landing.root} has no parent_orders, so there is no own flow",
            "use --flow public",
        )
    flow = flow or ("own" if landing.has_parents else "public")
    if flow == "public" and landing.all_dates() and not landing.dates("public_trades"):
        raise UsageError(
            f"landing zone {landing.root} has no public_trades, so there is no public flow",
            "use --flow own" if landing.has_parents else "land parent_orders or public_trades",
        )
    return replace(settings, flow=flow)


def matching(settings: Settings, release: Release) -> Settings:
    """`settings` with the flow and bucket width the release was fitted on."""
    flow: Flow = "own" if release.flow == "own" else "public"
    return replace(settings, flow=flow, bucket_s=release.bucket_s)
