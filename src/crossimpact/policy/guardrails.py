"""Green, amber or red: how far the market and the model may be trusted right now.

A reading holds CPI and IBB (`crossimpact.cost_indices`) and the ages of data and model. Against the
release's levels of the regime each is green, amber or red, and the worst counts:

- **up** by CPI or IBB once a second reading in a row says so (a bad tick is not confirmed), as far
  as both say; by age at once, a clock being no tick;
- **down** one step after two windows in a row of which every reading was better than the state;
- **in flight**: evidence that own fills move the market (`crossimpact.policy.in_flight`), where
  public prints are told, counts as CPI and IBB do, to amber at most;
- **cold start**: a session begins amber, and a regime without levels of CPI and IBB (an older
  release, no model, too few buckets) reads amber for as long as it has none.

What each state allows is data: `crossimpact.policy.state.ALLOWED`. Pure: the same readings give the
same states.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from crossimpact.policy.state import LARGEST, GuardrailState
from crossimpact.release.content import Guardrail
from crossimpact.release.policy import DEFAULT

STATES: tuple[GuardrailState, ...] = ("green", "amber", "red")
GREEN, AMBER, RED = range(3)
#: Windows in a row that must be better before the state goes down a step.
IMPROVED_WINDOWS = 2
MEASURED, AGES = ("cpi_bps", "ibb"), ("data_age_s", "model_age_days", "unreconciled")
SIGNALS = ("in_flight",)
#: Evidence in which own fills seem to move the market: by chance once in so many of them.
IN_FLIGHT = {"in_flight": Guardrail(1000.0, LARGEST)}
_AGED = DEFAULT.refit.guardrails.ages
#: Where a release says nothing of ages.
DEFAULT_AGES = {
    "data_age_s": Guardrail(_AGED.data_amber_s, _AGED.data_red_s),
    "model_age_days": Guardrail(_AGED.model_amber_days, _AGED.model_red_days),
    "unreconciled": Guardrail(1.0, LARGEST),
}


@dataclass(frozen=True)
class Reading:
    """What is known at one moment.

    Attributes
    ----------
    cpi_bps, ibb
        None where nothing was traded.
    data_age_s
        Seconds since the last market data.
    model_age_days
        Days since the release was last confirmed; inf without one.
    closes_window
        Whether the window (a bucket of the model) ends with it.
    unreconciled
        Names whose fills do not add up: amber at once, as a clock.
    in_flight
        Evidence that own fills move the market; None without public prints.
    """

    cpi_bps: float | None
    ibb: float | None
    data_age_s: float
    model_age_days: float
    closes_window: bool
    unreconciled: int = 0
    in_flight: float | None = None


@dataclass(frozen=True)
class Memory:
    """All that the next step needs of the past.

    Attributes
    ----------
    state
        Index into `STATES`.
    improved
        Better windows in a row so far.
    spoiled
        Whether a reading of the open window was no better than the state.
    suspect
        What the last reading measured beyond the state, not yet confirmed; 0: nothing.
    """

    state: int = AMBER
    improved: int = 0
    spoiled: bool = False
    suspect: int = GREEN

    @property
    def name(self) -> GuardrailState:
        return STATES[self.state]


@dataclass(frozen=True)
class Change:
    """A change of state, for the log."""

    before: GuardrailState
    after: GuardrailState
    why: str


def step(
    levels: Mapping[str, Guardrail], memory: Memory, reading: Reading
) -> tuple[Memory, tuple[Change, ...]]:
    """The state after one more reading.

    Parameters
    ----------
    levels
        Of the regime, from the release; empty: cold start.
    """
    watched = (*MEASURED, *SIGNALS)
    colours = {name: colour(levels, reading, name) for name in (*watched, *AGES)}
    measured, aged = (max(colours[name] for name in names) for names in (watched, AGES))
    after = advance(memory, measured, aged, reading.closes_window)
    if after.state == memory.state:
        return after, ()
    if after.state < memory.state:
        why = f"{IMPROVED_WINDOWS} windows in a row were better"
    else:
        worst = [name for name in colours if colours[name] >= after.state]
        why = "; ".join(_told(levels, reading, name) for name in worst) or "confirmed"
    return after, (Change(memory.name, after.name, why),)


def advance(memory: Memory, measured: int, aged: int, closes: bool) -> Memory:
    """The bare transition, of colours as indices into `STATES`."""
    state, beyond = memory.state, measured > memory.state
    confirmed = min(measured, memory.suspect) if beyond else GREEN
    up = max(aged, confirmed)
    if up > state:
        return Memory(up, 0, not closes, measured if measured > up else GREEN)
    suspect = measured if beyond else GREEN
    spoiled = memory.spoiled or max(measured, aged) >= state
    if not closes:
        return Memory(state, memory.improved, spoiled, suspect)
    improved = 0 if spoiled else memory.improved + 1
    if state > GREEN and improved == IMPROVED_WINDOWS:
        return Memory(state - 1)
    return Memory(state, improved, False, suspect)


def colour(levels: Mapping[str, Guardrail], reading: Reading, name: str) -> int:
    """What one quantity says by itself."""
    value, level = getattr(reading, name), _level(levels, name)
    if level is None:
        return AMBER
    if value is None:
        return GREEN
    if math.isnan(value):
        return AMBER
    if value > level.red:
        return RED
    return AMBER if value >= level.amber and value > 0 else GREEN


def cold(levels: Mapping[str, Guardrail], *, coupled: bool) -> str:
    """Why the regime reads amber for want of levels; empty when it has them.

    Without couplings nothing crosses, so that CPI needs no level (`without_couplings`).
    """
    needed = MEASURED if coupled else MEASURED[1:]
    missing = [name for name in needed if name not in levels]
    return f"cold start: the release has no level of {' and '.join(missing)}" if missing else ""


def without_couplings(levels: Mapping[str, Guardrail]) -> Mapping[str, Guardrail]:
    """Levels of a regime answered by a model without couplings, whose CPI is 0 for ever."""
    return {"cpi_bps": Guardrail(0.0, 0.0), **levels}


def states(
    levels: Mapping[str, Guardrail], readings: Iterable[Reading], start: Memory | None = None
) -> Iterator[GuardrailState]:
    """The state after each reading of a log."""
    memory = start or Memory()
    for reading in readings:
        memory, _ = step(levels, memory, reading)
        yield memory.name


def _level(levels: Mapping[str, Guardrail], name: str) -> Guardrail | None:
    return levels.get(name) or DEFAULT_AGES.get(name) or IN_FLIGHT.get(name)


def _told(levels: Mapping[str, Guardrail], reading: Reading, name: str) -> str:
    value, level = getattr(reading, name), _level(levels, name)
    if level is None:
        return f"{name} has no level (cold start)"
    place = level.percentile(value) if value is not None else None
    where = f" (percentile {place:.0f})" if place is not None else ""
    red = f", red {level.red:.4g}" if level.red < LARGEST else ""
    return f"{name} {value:.4g}{where}, amber {level.amber:.4g}{red}"
