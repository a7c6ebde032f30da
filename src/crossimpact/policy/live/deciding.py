"""A decision: the desk's state is planned on, asked of the hard limits, and told with reasons."""

from __future__ import annotations

from datetime import datetime

from crossimpact.errors import CrossImpactError
from crossimpact.policy.limits import LimitMemory, Refusal
from crossimpact.policy.live import pretrade
from crossimpact.policy.live.answering import Answering
from crossimpact.policy.live.book import Book
from crossimpact.policy.live.controls import Controls
from crossimpact.policy.live.decision import (
    Decision,
    Recorded,
    identity,
    inputs_digest,
)
from crossimpact.policy.live.desk_state import desk_state
from crossimpact.policy.live.settings import Settings
from crossimpact.policy.plan import Plan
from crossimpact.policy.schedule import Scheduler
from crossimpact.policy.state import DeskState, GuardrailState, Style


class Deciding:
    """Makes a session's decisions; keeps their number and what the limits remember of them."""

    def __init__(
        self, settings: Settings, book: Book, controls: Controls, answering: Answering
    ) -> None:
        self._settings, self._book = settings, book
        self._controls, self._answering = controls, answering
        self.seq, self.memory, self.scheduler = 0, LimitMemory(), Scheduler()

    def desk(self, now: datetime, regime: str, guardrail: GuardrailState) -> DeskState:
        """The desk as the scheduler is told it."""
        return desk_state(self._book, self._settings, now, regime, guardrail)

    def decide(
        self, now: datetime, regime: str, guardrail: GuardrailState, triggers: tuple[str, ...]
    ) -> Recorded:
        """What each parent should stand at, and why, as far as the level lets it."""
        answer = self._answering.answer(regime)
        state: DeskState | None = None
        plan: Plan | None = None
        refusals: tuple[Refusal, ...] = ()
        styles: dict[str, Style] = {}
        why = ""
        if self._controls.level == "RUN":
            state = self.desk(now, regime, guardrail)
            answer = self._answering.answer(regime, state.allowed.rung)
            try:
                plan = self.scheduler.plan(
                    answer, state, self._settings.policy, release=self._answering.digest
                )
                refusals = self._ask(now, state, plan)
                styles = {child.symbol: child.style for child in plan.children}
                why = plan.why
            except (CrossImpactError, ValueError, ArithmeticError) as error:
                why = f"no plan, the last targets stand: {error}"
        self.seq += 1
        inputs, digest = inputs_digest(state), self._answering.digest
        decision = Decision(
            id=identity(self._settings.name, digest, guardrail, inputs, self.seq),
            seq=self.seq,
            at=now,
            session=self._settings.name,
            release=digest,
            regime=regime,
            rung=plan.rung if plan else answer.rung,
            answered=plan.answered if plan else "nobody",
            mode=self._controls.mode,
            level=self._controls.level,
            guardrail=guardrail,
            triggers=triggers,
            targets=pretrade.targets(self._book, self._controls.level, styles),
            refusals=tuple(map(str, refusals)),
            outstanding=self._book.outstanding(),
            why=why,
            inputs=inputs,
        )
        for quote in self._book.quotes.values():
            quote.reference = quote.mid
        return Recorded(decision, state, plan)

    def _ask(self, now: datetime, state: DeskState, plan: Plan) -> tuple[Refusal, ...]:
        """Raise the targets of what hard limits let through."""
        passed, refused, self.memory = pretrade.ask(
            self._book, plan, self._controls.limits, self.memory, now, self._answering.adv
        )
        if any(row.symbol == "" for row in refused):
            self._controls.pause("a limit, see the journal")
        pretrade.raise_targets(self._book, state, plan, passed)
        return refused
