"""A week of a rollout looked back on: where it cost, what broke its rules, and who was wrong."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossimpact.errors import UsageError
from crossimpact.model import Array
from crossimpact.rollout import ledger
from crossimpact.rollout.calibration import JudgeCalibration, judge_calibration
from crossimpact.rollout.effect import adjusted, effect_path, scores
from crossimpact.rollout.evidence import LiveEvidence
from crossimpact.rollout.ledger import Entry
from crossimpact.rollout.outcomes import CONTROLS, Outcomes
from pipelines import shadow_tables
from pipelines.release import champion
from pipelines.rollout import gathering, plan_file, shadow_evidence
from pipelines.rollout.baskets import LeftOut
from pipelines.rollout.places import Places
from pipelines.rollout.steps import Status, status
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

SHOWN = 12


@dataclass(frozen=True)
class Pair:
    """Two names whose flows cost each other over the week, USD by the champion."""

    names: str
    usd: float
    now_usd: float
    days: int


@dataclass(frozen=True)
class DearBasket:
    """A basket among the week's dearest."""

    date: str
    basket: str
    arm: str
    notional_usd: float
    cost_usd: float
    bps: float


@dataclass(frozen=True)
class Breach:
    """Orders of an arm that met a cross cost in their own buckets: names not kept apart in time."""

    date: str
    arm: str
    baskets: int
    orders: int
    cost_usd: float


@dataclass(frozen=True)
class ShadowBesideLive:
    """A date's gain in the shadow beside the slice's; positive is cheaper by the policy."""

    date: str
    shadow_bps: float | None
    claimed_bps: float | None
    live_bps: float | None
    verdict: str


@dataclass(frozen=True)
class Week:
    """A calendar week of the rollout's stage.

    Attributes
    ----------
    live, missing
        Of the stage that drew the week, up to its last drawn date; what is no evidence.
    path
        Value, standard error, low and high of the effect after each day of the stage, (4, days).
    moves
        Of the ledger within the week.
    """

    monday: str
    dates: tuple[str, ...]
    status: Status
    pairs: tuple[Pair, ...]
    baskets: tuple[DearBasket, ...]
    breaches: tuple[Breach, ...]
    beside: tuple[ShadowBesideLive, ...]
    calibration: JudgeCalibration
    live: LiveEvidence | None
    missing: tuple[LeftOut, ...]
    days: tuple[str, ...]
    path: Array
    moves: tuple[Entry, ...]


def look_back(settings: Settings, date: str, *, now: datetime.datetime) -> Week:
    """The calendar week that holds a date.

    Raises
    ------
    UsageError
        When no rollout is on, or the week has no drawn date.
    """
    book = ledger.entries(Places(settings.home).ledger)
    standing = _standing_of(book, date)
    release, plan = champion(settings)[0], plan_file.load(settings.home)
    found = gathering.drawn(settings, release, standing)
    of, monday = found.outcomes, _monday(date)
    week = of.where(np.array([_monday(day) == monday for day in of.date], dtype=bool))
    if not len(week):
        raise UsageError(f"no drawn basket in the week of {monday}", "commit before the open first")
    now_status = status(settings, now=now)
    live = gathering.evidence_of(settings, plan, standing, found)
    weights = np.array([live.controls[name] for name in CONTROLS]) if live else np.zeros(3)
    y = adjusted(of, weights)
    asked = plan.statistics
    return Week(
        monday=monday,
        dates=tuple(week.days.tolist()),
        status=now_status,
        pairs=_pairs(settings, week.days.tolist()),
        baskets=_dearest(week),
        breaches=_breaches(week),
        beside=_beside(settings, plan.policy, week, of, y),
        calibration=judge_calibration(week),
        live=live,
        missing=tuple(row for row in found.left_out if _monday(row.date) == monday),
        days=tuple(of.days.tolist()),
        path=effect_path(of, y, alpha=asked.alpha, planned_days=asked.planned_days),
        moves=tuple(e for e in book if e.action in ledger.MOVES and _monday(e.when[:10]) == monday),
    )


def _standing_of(book: Sequence[Entry], date: str) -> ledger.Standing:
    """The stage that drew a date, whatever is in force by now."""
    commits = [line for line in book if line.action == "commit" and line.date <= date]
    if not commits:
        raise UsageError(f"no date up to {date} was drawn", "a stage that draws comes first")
    standing = ledger.standing([line for line in book if line.seq <= commits[-1].seq])
    if standing is None:
        raise UsageError(f"no rollout was on at {date}", "see its ledger")
    later = [e for e in book if e.action in ledger.MOVES and e.seq > standing.since.seq]
    end = later[0].seq if later else book[-1].seq + 1
    draws = {e.date: e for e in book if e.action == "commit" and standing.since.seq < e.seq < end}
    return ledger.Standing(standing.stage, standing.release, standing.since, draws)


def _pairs(settings: Settings, dates: Sequence[str]) -> tuple[Pair, ...]:
    """The week's costliest pairs."""
    warehouse = Warehouse(settings)
    usd: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for day in dates:
        for row in warehouse.rows("marts", "tca_pairs", day) or []:
            names = f"{row['symbol_i']}, {row['symbol_j']}"
            usd[names].append((float(row["usd"]), float(row["now_usd"])))
    rows = [
        Pair(names, sum(u for u, _ in told), sum(n for _, n in told), len(told))
        for names, told in usd.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.usd, row.names))[:SHOWN])


def _dearest(of: Outcomes) -> tuple[DearBasket, ...]:
    cost = of.is_bps * of.notional_usd / 1e4
    rows = [
        DearBasket(str(of.date[k]), str(of.basket[k]), _arm(of, k), float(of.notional_usd[k]),
            float(cost[k]), float(of.is_bps[k]))
        for k in np.argsort(-cost, kind="stable")[:SHOWN]
    ]  # fmt: skip
    return tuple(rows)


def _breaches(of: Outcomes) -> tuple[Breach, ...]:
    rows = []
    for day in of.days.tolist():
        for treated, arm in ((True, "policy"), (False, "control")):
            held = (of.date == day) & (of.treated == treated)
            orders, usd = of.bad_fills[held].sum(), of.bad_fill_usd[held].sum()
            rows.append(Breach(day, arm, int(held.sum()), int(orders), float(usd)))
    return tuple(rows)


def _beside(
    settings: Settings, policy: str, week: Outcomes, of: Outcomes, y: Array
) -> tuple[ShadowBesideLive, ...]:
    """What the shadow says of a date, and what the slice does."""
    a, b = scores(of, y)
    daily = zip(of.days.tolist(), a, b, strict=True)
    live = {day: -float(x / w) if w > 0 else None for day, x, w in daily}
    warehouse, result = Warehouse(settings), []
    for day in week.days.tolist():
        rows = warehouse.rows(shadow_tables.LAYER, shadow_tables.DAILY, day) or []
        told = shadow_evidence.of_day(rows, policy)
        result.append(
            ShadowBesideLive(day, told.gain_bps, told.claimed_bps, live[day], told.verdict)
        )
    return tuple(result)


def _arm(of: Outcomes, k: int) -> str:
    return "policy" if of.treated[k] else "control"


def _monday(date: str) -> str:
    day = datetime.date.fromisoformat(date)
    return (day - datetime.timedelta(days=day.weekday())).isoformat()
