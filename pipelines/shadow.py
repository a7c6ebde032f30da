"""A date in the shadow: what other policies would have done with its orders, and at what cost.

Chooser and judge are fitted on disjoint halves of the champion's window. Both tables of the date
are made from the same inputs and named with their digests; the second one makes the date visible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from crossimpact import json_log
from crossimpact.errors import GateRefused
from crossimpact.ladder import Rung
from crossimpact.policy.live.settings import Settings as SessionSettings
from crossimpact.policy.state import Caps, PolicyName
from crossimpact.progress import tell
from crossimpact.shadow import baselines
from crossimpact.shadow.counterfactual import EXECUTED, Replayed, check_disjoint
from crossimpact.shadow.day import Schedule
from crossimpact.shadow.draws import DRAWS
from crossimpact.shadow.halves import Half
from crossimpact.shadow.impact import Judge
from crossimpact.shadow.judging import Verdicts, chosen
from crossimpact.shadow.replay import NO_LIMITS, Chooser, replay
from crossimpact.shadow.rows import Rows, rows
from crossimpact.shadow.summary import headline
from crossimpact.shadow.tables import DayRow, Policy
from pipelines import plan, tca
from pipelines.release import champion
from pipelines.shadow_day import Recorded, mids, most_participation, read, statuses
from pipelines.shadow_halves import halves
from pipelines.shadow_tables import BASKETS, DAILY, LAYER, SCHEMAS
from pipelines.store.landing import Landing
from pipelines.store.provenance import code_digest
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

#: Which session rule a policy is, and to which rung the chooser is held.
REPLAYED: Mapping[Policy, tuple[PolicyName, Rung]] = {
    "self_only": ("optimal", "self_only"),
    "sector_block": ("optimal", "sector_block"),
    "ranked": ("ranked", "full"),
    "optimal": ("optimal", "full"),
}
#: Earlier dates on whose prices the placebo is the mean.
PLACEBO_DATES = 5
#: Quotes come once a bucket; a name's is stale after one and a half.
STALE_BUCKETS = 1.5


@dataclass(frozen=True)
class Asked:
    """Intervals a session plans ahead, and draws of each judge."""

    horizon: int = 12
    draws: int = DRAWS


@dataclass(frozen=True)
class Result:
    """A date's evidence.

    Attributes
    ----------
    date, release_id
        The date and the champion whose halves chose and judged.
    recomputed
        False when the tables were already made from the same inputs.
    rows
        Rows per table.
    daily
        The rows of `shadow_daily`.
    refused
        Why the date is no evidence for the champion; empty when it may be.
    notes
        What to know besides: orders no session took, the day's stale rows.
    """

    date: str
    release_id: str
    recomputed: bool
    rows: dict[str, int]
    daily: tuple[DayRow, ...]
    refused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def run(settings: Settings, landing_root: Path, date: str, asked: Asked | None = None) -> Result:
    """Publish both tables of `date`, or find them there; a refusal is in the result.

    Raises
    ------
    StaleModel
        Without a champion.
    UsageError
        When the champion is newer than the date.
    CrossImpactError
        When the date has no orders, no volume, or its halves cannot be fitted.
    """
    asked = asked or Asked()
    release, _ = champion(settings)
    json_log.know(release=release.digest)
    settings = plan.matching(settings, release)
    landing = Landing(landing_root)
    pair = halves(settings, landing, release, date)
    for k in (0, 1):
        check_disjoint(pair[k].dates, pair[1 - k].dates, date)
    priced = tca.run_as_of(settings, landing_root, date)
    warehouse = Warehouse(settings)
    inputs = _inputs(settings, warehouse, date, pair, asked)
    recomputed = not _is_current(warehouse, date, inputs)
    if recomputed:
        _publish(warehouse, date, *_made(settings, date, pair, asked), inputs)
    daily = published(settings, [date])
    manifests = {table: warehouse.manifest(LAYER, table, date) for table in SCHEMAS}
    extra = next(iter(m.extra for m in (manifests[DAILY],) if m), {})
    return Result(
        date=date,
        release_id=release.id,
        recomputed=recomputed,
        rows={table: manifest.rows for table, manifest in manifests.items() if manifest},
        daily=daily,
        refused=refusals(daily),
        notes=tuple(filter(None, (*extra.get("notes", ()), priced.note))),
    )


def refusals(daily: Sequence[DayRow]) -> tuple[str, ...]:
    """Why a day speaks against the champion's policy: a loss by the judge, or flow of which history
    says nothing."""
    row = headline(daily)
    if row.verdict not in ("loss", "outside evidence"):
        return ()
    reach = f"{row.gain_lo_bps:.2f} to {row.gain_hi_bps:.2f}"
    return (f"{row.policy}: {row.verdict}, gain {row.gain_bps:.2f} bps ({reach})",)


def check(result: Result) -> None:
    """Refuse a day whose evidence is against the champion.

    Raises
    ------
    GateRefused
        With every reason; its report is the result.
    """
    if result.refused:
        raise GateRefused(
            f"shadow of {result.date}: {'; '.join(result.refused)}",
            "see docs/shadow.md",
            result.to_dict(),
        )


def _inputs(
    settings: Settings, warehouse: Warehouse, date: str, pair: Sequence[Half], asked: Asked
) -> dict[str, str]:
    """Digest of all the tables are made from."""
    layer = settings.feature_layer
    tables = (
        ("accepted", "parent_orders"), ("accepted", "child_fills"), ("accepted", "public_trades"),
        (layer, "buckets"), (layer, "regimes"), ("marts", "tca_orders"),
    )  # fmt: skip
    found = {f"{name}/{t}": warehouse.manifest(name, t, date) for name, t in tables}
    digests = {name: manifest.sha256 if manifest else "none" for name, manifest in found.items()}
    return digests | {
        "halves": ", ".join(half.release.digest for half in pair),
        "asked": repr(asked),
        "code": code_digest(__name__),
    }


def _is_current(warehouse: Warehouse, date: str, inputs: Mapping[str, str]) -> bool:
    found = (warehouse.manifest(LAYER, table, date) for table in SCHEMAS)
    return all(manifest is not None and manifest.inputs == inputs for manifest in found)


def _made(
    settings: Settings, date: str, pair: Sequence[Half], asked: Asked
) -> tuple[Rows, tuple[str, ...]]:
    """Both tables, and what to know of them."""
    recorded = read(settings, date)
    day = recorded.day
    judges = [Judge.of(half.release.models, day.symbols, day.adv, len(half.dates)) for half in pair]
    schedules, notes = _schedules(settings, recorded, pair, judges, asked)
    replayed = Replayed(day, schedules, recorded.realized_usd)
    status = statuses(recorded, np.logical_and(judges[0].known, judges[1].known))
    counted = np.array([each == "ok" for each in status])
    before = sorted({*pair[0].dates, *pair[1].dates})
    most = most_participation(settings, before, day.shape[0])
    tell("shadow", f"{asked.draws} draws of each judge")
    made = rows(
        Verdicts(replayed, judges, counted, asked.draws),
        status, most, [mids(settings, d, day) for d in before[-PLACEBO_DATES:]],
    )  # fmt: skip
    return made, notes


def _schedules(
    settings: Settings,
    recorded: Recorded,
    pair: Sequence[Half],
    judges: Sequence[Judge],
    asked: Asked,
) -> tuple[dict[str, Schedule], tuple[str, ...]]:
    """By name: what was done, the paces, and what each half's sessions would have done."""
    day = recorded.day
    pov = max(max(p.max_pov.values()) for p in pair[0].release.fallback.values())
    schedules = {
        EXECUTED: recorded.executed,
        "twap": baselines.twap(day, pov),
        "vwap": baselines.vwap(day, pov),
    }
    refused: set[str] = set()
    for policy, (rule, rung) in REPLAYED.items():
        for k, half in enumerate(pair):
            tell("shadow", f"{policy} of half {k + 1}")
            session = _session(settings, day.date, rule, pov, asked)
            found = replay(
                Chooser(half.release, session, rung), day, judges[1 - k], recorded.executed
            )
            schedules[chosen(policy, k)] = found.schedule
            refused |= {*found.refused}
    if not refused:
        return schedules, ()
    few = ", ".join(sorted(refused)[:3])
    return schedules, (
        f"{len(refused)} orders against another of their name were worked evenly: {few}",
    )


def _session(
    settings: Settings, date: str, rule: PolicyName, pov: float, asked: Asked
) -> SessionSettings:
    minutes = settings.bucket_s / 60
    return SessionSettings(
        name=f"shadow-{date}",
        limits=NO_LIMITS,
        policy=rule,
        every_min=minutes,
        interval_min=minutes,
        horizon=asked.horizon,
        stale_s=STALE_BUCKETS * settings.bucket_s,
        caps=Caps(pov),
    )


def _publish(
    warehouse: Warehouse,
    date: str,
    made: Rows,
    notes: tuple[str, ...],
    inputs: Mapping[str, str],
) -> None:
    with warehouse.connect() as connection:
        for table, found in ((BASKETS, made.baskets), (DAILY, made.daily)):
            columns = pa.Table.from_pylist([asdict(row) for row in found], SCHEMAS[table])
            connection.register("made", columns)
            warehouse.publish(
                connection, "SELECT * FROM made", LAYER, table, date,
                inputs=inputs, extra={"notes": list(notes)},
            )  # fmt: skip
            connection.unregister("made")


def published(settings: Settings, dates: Sequence[str]) -> tuple[DayRow, ...]:
    """The rows of `shadow_daily` of the last of these dates that has them; empty without one."""
    warehouse = Warehouse(settings)
    known = [date for date in warehouse.dates(LAYER, DAILY) if date in dates]
    rows = warehouse.rows(LAYER, DAILY, known[-1]) if known else None
    return tuple(DayRow(**row) for row in rows or [])
