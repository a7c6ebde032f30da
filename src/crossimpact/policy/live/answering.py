"""Which release answers a session, and by which of its rungs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from crossimpact.ladder import RUNGS, Rung
from crossimpact.policy import guardrails
from crossimpact.policy.live.events import Swap
from crossimpact.release.bundle import Answer, Release
from crossimpact.release.content import Guardrail, Hold
from crossimpact.release.policy import DEFAULT


class Answering:
    """The release of the moment, or why there is none.

    Parameters
    ----------
    releases
        A release by digest.
    """

    def __init__(self, releases: Callable[[str], Release]) -> None:
        self._releases = releases
        self.release: Release | None = None
        self._reason, self._fixed_pov = "no release yet", DEFAULT.release.fixed_pov
        self._answers: dict[tuple[str, Rung], Answer] = {}

    @property
    def fixed(self) -> tuple[object, ...]:
        """What no event changes, and no copy needs to hold twice."""
        return self._releases, self.release, *self._answers.values()

    @property
    def digest(self) -> str:
        """Of the release; empty without one."""
        return self.release.digest if self.release else ""

    def swap(self, event: Swap) -> bool:
        """Take another release, or none; whether that changes who answers."""
        self._reason, self._fixed_pov = event.reason, event.fixed_pov
        self._answers.clear()
        before = self.release and (self.release.digest, self.release.held)
        if event.digest:
            held = {
                regime: Hold(next(r for r in RUNGS if r == hold.rung), hold.reason)
                for regime, hold in event.held.items()
            }
            self.release = replace(self._releases(event.digest), held=held)
        else:
            self.release = None
        return before != (self.release and (self.release.digest, self.release.held))

    def answer(self, regime: str, at_most: Rung = "full") -> Answer:
        """Who answers for a regime: that regime's own rung, never another's numbers."""
        if self.release is None:
            return Answer(None, "fixed_pov", self._reason, self._fixed_pov)
        key = regime, at_most
        if key not in self._answers:  # one model each, so that what is made of it can be kept
            self._answers[key] = self.release.model_for(regime, at_most)
        return self._answers[key]

    def levels(self, regime: str) -> dict[str, Guardrail]:
        """The guardrails' levels of a regime."""
        rows = dict(self.release.guardrails.get(regime, {})) if self.release else {}
        model = self.answer(regime).model
        return dict(guardrails.without_couplings(rows)) if model and not model.edges else rows

    def adv(self, symbol: str) -> float | None:
        """Average daily volume as the release knows it, USD."""
        for model in self.release.models.values() if self.release else ():
            if symbol in model.symbols:
                return float(model.adv[model.symbols.index(symbol)])
        return None
