"""Weekly drift: the champion against the last five trading dates, one row per regime in `marts`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crossimpact.estimate.drift import weekly_drift
from pipelines import features, refit, release, validate
from pipelines.config import Settings
from pipelines.landing import Landing
from pipelines.warehouse import Warehouse

WEEK = 5  # trading dates
SEVERITY = {"ok": 0, "watch": 1, "refit": 2}


@dataclass(frozen=True)
class Result:
    """The week's verdict: the worst regime's, with every regime's row."""

    as_of: str
    release: str
    dates: list[str]
    in_sample_dates: int
    verdict: str
    regimes: Mapping[str, Mapping[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "regimes": {k: dict(v) for k, v in self.regimes.items()}}


def run(settings: Settings, landing_root: Path, as_of: str | None = None) -> Result:
    """Validate the week, build its features, confront the champion, publish `marts/drift`.

    Raises
    ------
    StaleModel
        When no champion is promoted.
    ContractViolation
        When a table of the week is broken.
    """
    champion, _ = release.champion(settings)
    settings = refit.matching(settings, champion)
    landing = Landing(landing_root)
    dates = refit.plan(settings, landing_root, as_of, WEEK)["dates"]
    validate.accept(settings, landing, dates)
    features.prepare(settings, landing, dates)
    panel = features.load_panel(settings, dates)
    rows = {}
    for regime, model in champion.models.items():
        typical = np.array(model.provenance["typical_flow"], dtype=float)
        week = panel.on(model.symbols, model.sectors, model.adv)
        rows[regime] = weekly_drift(model, week, typical).to_dict()
    first, last = champion.window["first"], champion.window["last"]
    result = Result(
        as_of=dates[-1],
        release=champion.id,
        dates=dates,
        in_sample_dates=sum(first <= date <= last for date in dates),
        verdict=max((row["verdict"] for row in rows.values()), key=SEVERITY.__getitem__),
        regimes=rows,
    )
    _publish(settings, result)
    return result


def _publish(settings: Settings, result: Result) -> None:
    warehouse = Warehouse(settings)
    frame = pd.DataFrame(
        [
            {"release": result.release, "in_sample_dates": result.in_sample_dates, **row}
            for row in result.regimes.values()
        ]
    )
    with warehouse.connect() as connection:
        connection.register("drift", frame)
        warehouse.publish(
            connection,
            "SELECT * FROM drift ORDER BY regime",
            "marts",
            "drift",
            result.as_of,
            inputs={"release": result.release, "dates": ",".join(result.dates)},
        )
