"""Weekly drift: the champion against the week's dates, in `marts` by regime and by statistic.

A week is a calendar week (Monday to Sunday) up to `as_of`. What the verdict rests on is computed
from the p-values of the same champion's earlier weeks, as published; no counter is kept. So two
runs of a week are one, a rerun or a late retry writes the same bytes, and after a backfill a rerun
of the later weeks gives what they would have given.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crossimpact.drift.conditions import CONDITIONS, Shift, shifts
from crossimpact.drift.decay_shift import decay_shift
from crossimpact.drift.weekly import SEVERITY, Drift, weekly_drift
from crossimpact.errors import StaleModel
from crossimpact.model import ImpactModel
from crossimpact.progress import tell
from crossimpact.release.bundle import Release
from crossimpact.response import Response
from pipelines import features, plan, refit, release, validate
from pipelines.calibration import net_of_earlier, on_models
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, sql

WEEK = 7  # dates at most
#: Columns that are numbers even where a whole partition has none.
NUMBERS = ("slope", "slope_se", "value", "se", "low", "high", "p", "e", "evidence", "limit")
#: p-values of earlier weeks by regime and statistic, oldest first.
Past = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True)
class Result:
    """The week's verdict: the worst regime's, with every regime's row.

    `week` is its Monday; `demote` names, per regime that must not use its cross terms any longer,
    the rung that answers instead; `evidence` has every regime's statistics; `stale` tells of dates
    read as an earlier landing left them.
    """

    as_of: str
    week: str
    release: str
    dates: list[str]
    in_sample_dates: int
    verdict: str
    regimes: Mapping[str, Mapping[str, Any]]
    demote: Mapping[str, str]
    evidence: list[dict[str, Any]]
    stale: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        regimes = {regime: dict(row) for regime, row in self.regimes.items()}
        return {**vars(self), "regimes": regimes, "stale": list(self.stale)}


def run(settings: Settings, landing_root: Path, as_of: str | None = None) -> Result:
    """Validate the week, build its features, confront the champion, publish the marts.

    Only dates after the champion's window are evidence; a week wholly inside is shown, and told so.

    Raises
    ------
    StaleModel
        When no champion is promoted, or another one was while this ran.
    ContractViolation
        When a table of the week is broken.
    """
    champion, _ = release.champion(settings)
    settings = plan.matching(settings, champion)
    landing = Landing(landing_root)
    landed = refit.plan(settings, landing_root, as_of, WEEK).dates
    monday = _monday(landed[-1])
    dates = [date for date in landed if date >= monday]
    stale = validate.accept(settings, landing, dates)
    features.prepare(settings, landing, dates)
    tell("drift", f"release {champion.id} against the week of {monday}")
    found = _confront(settings, champion, dates, monday)
    first, last = champion.window.first, champion.window.last
    regimes = {drift.regime: drift.to_dict() for drift in found}
    result = Result(
        as_of=dates[-1],
        week=monday,
        release=champion.id,
        dates=dates,
        in_sample_dates=sum(first <= date <= last for date in dates),
        verdict=max((drift.verdict for drift in found), key=SEVERITY.__getitem__, default="ok"),
        regimes=regimes,
        demote={drift.regime: drift.fallback for drift in found if drift.fallback},
        evidence=[row.to_dict() for drift in found for row in drift.evidence],
        stale=stale,
    )
    if release.champion(settings)[0].id != champion.id:
        raise StaleModel(
            f"release {champion.id} is not champion any longer", "run drift again for the new one"
        )
    _publish(settings, result)
    return result


def _confront(
    settings: Settings, champion: Release, dates: Sequence[str], monday: str
) -> list[Drift]:
    """Every regime the champion ships a model of, against what of the dates it has not seen.

    Shipped, whatever lower rung the regime is held to by now: a week looked at again after it
    demoted a regime says the same.
    """
    unseen = [date for date in dates if date > champion.window.last]
    panel = features.load_panel(settings, unseen or dates)
    past, changed = _past(settings, champion, monday), _conditions(settings, champion, unseen)
    shipped, metrics = _shipped(champion), champion.report.get("metrics", {})
    if not shipped:
        return []
    seen = on_models(panel, shipped)
    net = net_of_earlier(seen, shipped)
    return [
        weekly_drift(
            model,
            net,
            response=Response.of(metrics.get(regime, {})),
            lower=champion.lower.get(regime, {}),
            past=past.get(regime, {}),
            regimes=len(champion.models),
            unseen=bool(unseen),
            conditions=changed.get(regime, {}),
            decay=decay_shift(shipped, seen, regime),
            alpha=settings.policy.drift.alpha,
        )
        for regime, model in shipped.items()
    ]


def _shipped(champion: Release) -> dict[str, ImpactModel]:
    rungs = {regime: champion.fallback[regime].rung for regime in champion.models}
    return {
        regime: model.self_only() if rungs[regime] == "self_only" else model
        for regime, model in champion.models.items()
    }


def _monday(date: str) -> str:
    day = datetime.date.fromisoformat(date)
    return (day - datetime.timedelta(days=day.weekday())).isoformat()


def _past(settings: Settings, champion: Release, monday: str) -> Past:
    """What the champion's earlier weeks said."""
    warehouse = Warehouse(settings)
    dates = [d for d in warehouse.dates("marts", "drift_evidence") if d < monday]
    past: dict[str, dict[str, list[float]]] = {}
    if not dates:
        return past
    with warehouse.connect() as connection:
        warehouse.attach(connection, "marts", "drift_evidence", dates, dated=True)
        asked = {"release": champion.id, "monday": datetime.date.fromisoformat(monday)}
        rows = connection.execute(sql("marts/drift_past"), asked).fetchall()
    for _, regime, statistic, p in rows:
        values = past.setdefault(regime, {}).setdefault(statistic, [])
        values.append(np.nan if p is None else float(p))
    return past


def _conditions(
    settings: Settings, champion: Release, unseen: Sequence[str]
) -> dict[str, dict[str, Shift]]:
    """Each regime's conditions against those of the champion's window, as far as it is at hand."""
    warehouse, layer = Warehouse(settings), settings.feature_layer
    first, last = champion.window.first, champion.window.last
    built = set(warehouse.dates(layer, "regimes")) & set(warehouse.dates(layer, "buckets"))
    window = sorted(date for date in built if first <= date <= last)
    if not unseen or not window:
        return {}
    with warehouse.connect() as connection:
        for name in ("buckets", "regimes"):
            warehouse.attach(connection, layer, name, [*window, *unseen], dated=True)
        frame = connection.execute(sql("marts/drift_conditions")).df()
    frame["date"] = frame["date"].astype(str)
    week = frame["date"].isin(list(unseen))
    return {
        str(regime): shifts(_by_day(frame, week & rows), _by_day(frame, ~week & rows))
        for regime in frame["regime"].unique()
        for rows in [frame["regime"] == regime]
    }


def _by_day(frame: pd.DataFrame, rows: pd.Series) -> dict[str, np.ndarray]:
    return {name: frame.loc[rows, name].to_numpy(dtype=float) for name in CONDITIONS}


def _publish(settings: Settings, result: Result) -> None:
    """`marts/drift`, a row per regime, and `marts/drift_evidence`, a row per statistic."""
    head = {"release": result.release, "in_sample_dates": result.in_sample_dates}
    tables: dict[str, Sequence[Mapping[str, Any]]]
    tables = {"drift_evidence": result.evidence, "drift": list(result.regimes.values())}
    inputs = {"release": result.release, "dates": ",".join(result.dates)}
    warehouse = Warehouse(settings)
    for table, rows in tables.items():
        frame = pd.DataFrame([{**head, **row} for row in rows])
        frame = frame.astype({name: float for name in NUMBERS if name in frame})
        with warehouse.connect() as connection:
            connection.register(table, frame)
            query = f"SELECT * FROM {table}"
            warehouse.publish(connection, query, "marts", table, result.as_of, inputs=inputs)
