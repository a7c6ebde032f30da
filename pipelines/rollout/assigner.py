"""Whose baskets are, for the live loop: by the stage in force and the date's committed salt."""

from __future__ import annotations

from dataclasses import dataclass, field

from crossimpact.policy.live.events import ParentOrder
from crossimpact.progress import tell
from crossimpact.rollout import ledger
from crossimpact.rollout.design import Arm
from crossimpact.rollout.ledger import Standing
from crossimpact.rollout.stages import RolloutPlan
from pipelines.live.arms import Assign, basket_of
from pipelines.rollout import plan_file
from pipelines.rollout.places import Places
from pipelines.store.settings import Settings


def assigner(settings: Settings) -> Assign | None:
    """None while no rollout is on: the policy then has every basket."""
    places = Places(settings.home)
    if ledger.standing(ledger.entries(places.ledger)) is None:
        return None
    return _Assigner(places, plan_file.load(settings.home))


@dataclass
class _Assigner:
    """The ledger is looked at again whenever it has changed: a demotion counts at once."""

    places: Places
    plan: RolloutPlan
    _stamp: int = -1
    _standing: Standing | None = None
    _told: set[str] = field(default_factory=set)

    def __call__(self, order: ParentOrder) -> tuple[Arm, float]:
        self._look()
        standing = self._standing
        stage = self.plan.of(standing.stage) if standing else None
        if standing is None or stage is None or stage.trades == "nothing":
            return "control", 1.0
        if stage.trades == "all":
            return "policy", 1.0
        arm, chance = self._drawn(standing, order)
        return arm if stage.trades == "drawn" else "control", chance

    def _drawn(self, standing: Standing, order: ParentOrder) -> tuple[Arm, float]:
        """By the date's draw; the control's where that is not known, and why is told once."""
        date = order.at.date().isoformat()
        line, path = standing.draws.get(date), self.places.salt(date)
        why = "" if line and line.draw and path.exists() else f"no salt is committed for {date}"
        if not why and order.basket_usd is None:
            why = f"basket {basket_of(order)} says no basket_usd"
        if why or line is None or line.draw is None or order.basket_usd is None:
            if why not in self._told:
                self._told.add(why)
                tell("live", f"{why}: the control trades it")
            return "control", 1.0
        salt = path.read_bytes()
        line.draw.opens(salt)
        arm = line.draw.arm(salt, basket_of(order), order.basket_usd, order.at)
        chance = line.draw.chance(order.basket_usd)
        return arm, chance if arm == "policy" else 1 - chance

    def _look(self) -> None:
        stamp = self.places.ledger.stat().st_mtime_ns
        if stamp != self._stamp:
            self._standing = ledger.standing(ledger.entries(self.places.ledger))
            self._stamp = stamp
