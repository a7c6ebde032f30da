"""All that a rollout's gates are asked on: shadow, drawn baskets, and whether the model answers."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from crossimpact.consumer.state import age
from crossimpact.plain_data import canonical_json
from crossimpact.release.bundle import Release
from crossimpact.release.ledger import utc
from crossimpact.rollout import ledger
from crossimpact.rollout.evidence import LiveEvidence, live_evidence, plain
from crossimpact.rollout.ledger import Standing
from crossimpact.rollout.randomisation_test import Mechanism
from crossimpact.rollout.stages import RolloutPlan
from pipelines.rollout import baskets, shadow_evidence
from pipelines.rollout.baskets import Drawn, LeftOut
from pipelines.rollout.places import Places
from pipelines.rollout.shadow_evidence import ShadowEvidence
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

#: Dates before the first draw that weigh the controls and cut the strata.
BEFORE = 60


@dataclass(frozen=True)
class Model:
    """Whether the release of the rollout may answer, and why not."""

    usable: bool
    why: str


@dataclass(frozen=True)
class Evidence:
    """What is known of a rollout's stage.

    Attributes
    ----------
    draws
        Whether baskets are drawn in the stage.
    live
        None while nothing was drawn and priced.
    missing, left_out
        Dates of the stage that were not drawn, are not revealed or have no TCA; baskets that are no
        evidence; each with its reason.
    """

    stage: str
    draws: bool
    shadow: ShadowEvidence
    live: LiveEvidence | None
    missing: tuple[LeftOut, ...]
    left_out: tuple[LeftOut, ...]
    baskets: int
    model: Model

    @property
    def days(self) -> int:
        """That count for the stage: drawn ones, or of the shadow where nothing is drawn."""
        if not self.draws:
            return self.shadow.days
        return self.live.days if self.live else 0

    @property
    def facts(self) -> dict[str, Any]:
        """By the names that gates use."""
        live: dict[str, Any] = self.live.facts() if self.live else {}
        live["missing_days"] = len({row.date for row in self.missing})
        if self.baskets:
            live["left_out_share"] = len([r for r in self.left_out if r.basket_id]) / self.baskets
        return {"shadow": self.shadow.facts(), "live": live, "model": asdict(self.model)}

    def to_dict(self) -> dict[str, Any]:
        """Plain data, what is not finite as None."""
        live = self.live.to_dict() if self.live else None
        rest = plain(asdict(self)) | {"shadow": self.shadow.to_dict(), "live": live}
        return {"facts": plain(self.facts), **rest}

    @property
    def content(self) -> bytes:
        """As it is kept."""
        return canonical_json(self.to_dict()) + b"\n"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def gather(
    settings: Settings, plan: RolloutPlan, release: Release, standing: Standing, now: datetime
) -> Evidence:
    """Read shadow, TCA and the ledger of draws.

    Raises
    ------
    CrossImpactError
        When a salt is not the one that was committed to.
    """
    shadow = shadow_evidence.of_release(settings, release, plan.policy, plan.statistics)
    stage = plan.of(standing.stage)
    live, found = None, None
    if stage and stage.draws:
        found = drawn(settings, release, standing)
        live = evidence_of(settings, plan, standing, found)
    missing = _missing(settings, standing, found, now) if found else ()
    return Evidence(
        standing.stage, bool(stage and stage.draws), shadow, live, missing,
        found.left_out if found else (), found.baskets if found else 0,
        _model(settings, release, standing, now),
    )  # fmt: skip


def drawn(settings: Settings, release: Release, standing: Standing) -> Drawn:
    """The stage's baskets whose salts are revealed."""
    salts = ledger.revealed(ledger.entries(Places(settings.home).ledger))
    return baskets.drawn(settings, standing.draws, salts, half_lives(release))


def half_lives(release: Release) -> dict[str, float]:
    """Of the impact of each regime that has a kernel, minutes."""
    kernels = {name: model.kernel for name, model in release.models.items()}
    return {name: kernel.half_life_min for name, kernel in kernels.items() if kernel}


def evidence_of(
    settings: Settings, plan: RolloutPlan, standing: Standing, found: Drawn
) -> LiveEvidence | None:
    """What the drawn baskets of a stage say; None while there are none."""
    if not len(found.outcomes):
        return None
    first = min(standing.draws)
    before = baskets.before(settings, first, BEFORE)
    usual = np.array([draw.usual_usd for draw in found.draws], dtype=float)
    mechanism = Mechanism(found.stratum, usual, found.draws[0].design.share)
    return live_evidence(found.outcomes, mechanism, before, plan.statistics)


def _missing(
    settings: Settings, standing: Standing, found: Drawn, now: datetime
) -> tuple[LeftOut, ...]:
    """Dates since the first draw that were traded and say nothing, each with why."""
    if not standing.draws:
        return ()
    first, today = min(standing.draws), utc(now).date().isoformat()
    accepted = Warehouse(settings).dates("accepted", "parent_orders")
    undrawn = [d for d in accepted if d >= first and d not in standing.draws]
    whole = [row for row in found.left_out if not row.basket_id and row.date in accepted]
    told = {*found.outcomes.days.tolist(), *(row.date for row in whole)}
    silent = [d for d in accepted if d in standing.draws and d < today and d not in told]
    return (
        *(LeftOut(date, "", "no salt was committed") for date in undrawn),
        *whole,
        *(LeftOut(date, "", "its salt is not revealed, or no basket counts") for date in silent),
    )


def _model(settings: Settings, release: Release, standing: Standing, now: datetime) -> Model:
    if release.digest != standing.release:
        return Model(
            False, f"release {release.id} is champion, the rollout is of {standing.release[:12]}"
        )
    old, limit = age(release, utc(now)), settings.policy.release.valid_for
    if old > limit:
        return Model(False, f"release {release.id} is {old.days} days old, limit {limit.days}")
    return Model(True, "")


def reasons(rows: tuple[LeftOut, ...]) -> Mapping[str, int]:
    """How often each reason, the most frequent first."""
    return dict(Counter(row.why for row in rows).most_common())
