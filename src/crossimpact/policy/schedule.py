"""The scheduler: a desk's state and whoever answers for its regime become a plan.

Two policies on the same inputs. `optimal` solves a convex program and is believed only with a
certificate; `ranked` needs no solver and answers when there is none. Where the ladder's answer has
no model, every line trades a fixed share of volume. The plan says who answered and why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from crossimpact.errors import ProblemError, UsageError
from crossimpact.model import ImpactModel
from crossimpact.policy.plan import Plan
from crossimpact.policy.scheduling import caps as limits
from crossimpact.policy.scheduling import desk as desks
from crossimpact.policy.scheduling import efficiency, fast, outcome, reference, rules
from crossimpact.policy.scheduling import restraint as restraints
from crossimpact.policy.scheduling.caps import Caps
from crossimpact.policy.scheduling.certificate import CAPS, certificate
from crossimpact.policy.scheduling.compiled import Compiled
from crossimpact.policy.scheduling.desk import Desk, Index
from crossimpact.policy.scheduling.efficiency import Marginal
from crossimpact.policy.scheduling.fast import Solution
from crossimpact.policy.scheduling.fixed_share import fixed_share
from crossimpact.policy.scheduling.program import Program, expected
from crossimpact.policy.scheduling.ranked import ranked
from crossimpact.policy.state import Answering, DeskState, PolicyName
from crossimpact.release.bundle import Answer
from crossimpact.scaled import Array

Engine = Literal["fast", "cvxpy"]
#: Widths of a bucket that differ by less, minutes, are the same.
SAME_MIN = 1e-9


class Chosen(NamedTuple):
    """Flows, USD >= 0 by line and interval, who they are from and why, and how good they are."""

    u: Array
    answered: Answering
    why: str
    prices: tuple[Array, Array] | None = None
    kkt: float | None = None
    gap: float | None = None


class Ranking(NamedTuple):
    """Lines' marginal cost and efficiency at an even pace, and their order."""

    cost: Marginal
    ratio: Array
    order: Index


@dataclass
class Scheduler:
    """Makes plans. Keeps what depends on the model and the names alone, so that the next plan takes
    less time; the plan itself does not depend on it."""

    _compiled: Compiled | None = None

    def plan(
        self,
        answer: Answer,
        state: DeskState,
        policy: PolicyName = "optimal",
        engine: Engine = "fast",
        release: str = "",
    ) -> Plan:
        """What to trade next, and the horizon behind it.

        Parameters
        ----------
        answer
            Who answers for the state's regime: `Release.model_for` or `Served.answer`.
        state
            The desk.
        policy
            ``optimal`` or ``ranked``; the plan says when another had to stand in.
        engine
            ``fast``, or ``cvxpy`` for the reference.
        release
            Digest of the release the answer is from, for the record.

        Raises
        ------
        ProblemError
            When the state contradicts itself or the model: which number, against which limit.
        UsageError
            On an unknown policy or engine.
        """
        _check_words(policy, engine)
        model, why = usable(answer, state)
        if model is None:
            return _by_volume(desks.of(state), answer, why, policy, release)
        compiled = self._compile(model, tuple(name.symbol for name in state.names))
        desk = desks.of(state, compiled.sectors)
        pov = _pov(desk, answer)
        ranking = _ranking(desk, compiled, limits.of(desk, pov))
        restraint = restraints.of(desk, ranking.order, pov)
        caps = limits.of(desk, pov, restraint)
        linear = compiled.model.transform == "linear"
        program = Program(desk, compiled.layout(desk)) if linear else None
        chosen = _choose(desk, caps, program, ranking, policy, engine)
        draft = _ruled(desk, caps, compiled, program, chosen.u, ranking)
        _check_caps(caps, draft.u)
        return Plan(
            at=state.at,
            policy=policy,
            answered=chosen.answered,
            why="; ".join(filter(None, (chosen.why, answer.reason))),
            release=release,
            regime=state.regime,
            rung=answer.rung,
            children=outcome.children(
                desk, draft.u, draft.aggressive, restraint, ranking.cost, ranking.ratio
            ),
            targets=outcome.targets(desk, draft.u),
            binding=outcome.binding(desk, caps, chosen.u, chosen.prices),
            rules=draft.applied,
            relaxed=caps.relaxed,
            expected=expected(desk, compiled.model, draft.u, program),
            kkt_residual=chosen.kkt,
            gap_usd=chosen.gap,
            notes=_notes(compiled),
        )

    def _compile(self, model: ImpactModel, symbols: tuple[str, ...]) -> Compiled:
        last = self._compiled
        if last is None or last.source is not model or last.symbols != symbols:
            self._compiled = last = Compiled.of(model, symbols)
        return last


def plan(
    answer: Answer,
    state: DeskState,
    policy: PolicyName = "optimal",
    engine: Engine = "fast",
    release: str = "",
) -> Plan:
    """A single plan; see `Scheduler.plan`."""
    return Scheduler().plan(answer, state, policy, engine, release)


def usable(answer: Answer, state: DeskState) -> tuple[ImpactModel | None, str]:
    """The answer's model, or None and why not: a market is never answered by another regime's
    coefficients, nor a desk by the model of other names.

    Raises
    ------
    ProblemError
        When the state's interval is not the model's bucket.
    """
    model = answer.model
    if model is None:
        return None, answer.reason
    if model.regime != state.regime:
        return None, f"the model is of regime {model.regime}, the market is {state.regime}"
    if not {name.symbol for name in state.names} & set(model.symbols):
        return None, "the model knows none of the names"
    bucket = None if model.kernel is None else model.kernel.bucket_min
    if bucket is not None and abs(bucket - state.interval_min) > SAME_MIN:
        raise ProblemError(
            f"interval_min is {state.interval_min:g}, the model's buckets are {bucket:g} minutes",
            f"give interval_min {bucket:g}",
        )
    return model, ""


def _check_words(policy: str, engine: str) -> None:
    for what, word, words in (
        ("policy", policy, get_args(PolicyName)), ("engine", engine, get_args(Engine)),
    ):  # fmt: skip
        if word not in words:
            raise UsageError(f"{what} {word!r} is none of {', '.join(words)}")


def _by_volume(desk: Desk, answer: Answer, why: str, policy: PolicyName, release: str) -> Plan:
    """A plan without a model."""
    order, pov = np.argsort(-desk.lines.waiting, kind="stable"), _pov(desk, answer)
    restraint = restraints.of(desk, order, pov)
    caps = limits.of(desk, pov, restraint)
    u = fixed_share(desk, caps)
    _check_caps(caps, u)
    due = (desk.lines.intervals <= 1) & desk.state.allowed.aggressive
    return Plan(
        at=desk.state.at,
        policy=policy,
        answered="fixed_pov",
        why=why,
        release=release,
        regime=desk.state.regime,
        rung="fixed_pov",
        children=outcome.children(desk, u, due, restraint, None, None),
        targets=outcome.targets(desk, u),
        binding=outcome.binding(desk, caps, u, None),
        relaxed=caps.relaxed,
    )


def _ranking(desk: Desk, compiled: Compiled, caps: Caps) -> Ranking:
    even = caps.kept(np.repeat(restraints.pace(desk)[:, None], desk.shape[1], axis=1))
    cost = efficiency.marginal(desk, compiled.model, compiled.alone, even)
    ratio = efficiency.efficiency(desk, cost)
    return Ranking(cost, ratio, efficiency.order(desk, ratio))


def _pov(desk: Desk, answer: Answer) -> float:
    return min(desk.state.caps.pov, answer.max_pov)


def _choose(
    desk: Desk,
    caps: Caps,
    program: Program | None,
    ranking: Ranking,
    policy: PolicyName,
    engine: Engine,
) -> Chosen:
    """The policy's flows; the ranked ones where the optimal ones are not to be had."""
    by_rank = Chosen(ranked(desk, caps, ranking.order, ranking.ratio), "ranked", "")
    if policy == "ranked":
        return by_rank
    if program is None:
        return by_rank._replace(
            why="optimal is for linear flow: with the square root its program is not convex"
        )
    try:
        solve = fast.solve if engine == "fast" else reference.solve
        found = solve(program, caps)
    except (UsageError, MemoryError):  # no memory is no word about the program
        raise
    except Exception as error:  # whatever a solver does, the desk has a plan
        return by_rank._replace(why=f"the solver failed: {type(error).__name__}: {error}")
    return _certified(program, caps, found, by_rank)


def _certified(program: Program, caps: Caps, found: Solution, by_rank: Chosen) -> Chosen:
    """The solution with its certificate, else what is ranked and why."""
    if not found.solved:
        return by_rank._replace(why=f"the solver stopped: {found.status}")
    proof = certificate(program, caps, found.u, found.y)
    if not proof.holds:
        return by_rank._replace(why=proof.failure, kkt=None)
    gap = program.value(by_rank.u) - program.value(found.u)
    return Chosen(found.u, "optimal", "", (proof.upper, found.y), proof.kkt, gap)


def _ruled(
    desk: Desk,
    caps: Caps,
    compiled: Compiled,
    program: Program | None,
    u: Array,
    ranking: Ranking,
) -> rules.Draft:
    """Styles, and what the coupling rules change."""

    def value(flows: Array) -> float:
        if program is not None:
            return program.value(flows)
        return expected(desk, compiled.model, flows, None).objective_usd

    draft = rules.Draft(u, rules.styles(desk, ranking.ratio, u))
    strong = compiled.strong(desk.state.strong_coupling)
    return rules.applied(draft, desk, strong, caps, ranking.order, value)


def _check_caps(caps: Caps, u: Array) -> None:
    """The last look before a plan leaves."""
    if not (np.isfinite(u).all() and caps.excess(u) <= CAPS):
        raise ProblemError(
            f"the plan breaks its caps by {caps.excess(u):.3g} of the largest flow, limit {CAPS:g}"
        )


def _notes(compiled: Compiled) -> tuple[str, ...]:
    caution = compiled.caution
    notes = [f"couplings times {caution.theta:.3g}, for their standard errors"]
    if caution.half_life_min is not None:
        notes.append(f"half-life {caution.half_life_min:.3g} min, the slow end of its interval")
    if not compiled.couplings.factored:
        notes.append("couplings without factors: solved dense")
    return tuple(notes)
