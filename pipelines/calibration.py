"""Calibration of a release over the last dates: realized on predicted cross moves, as walk-forward
and drift measure it (`estimate.held_out`), so that a page, a gate and an alarm speak of one number.

Net of peers' flow and of what earlier own flow left; every cell counts by its noise, so that no few
large ones own it; dates are what varies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from crossimpact.errors import EstimationError
from crossimpact.estimate.carried import net_of_carried
from crossimpact.estimate.held_out import HeldOut, open_held_out
from crossimpact.model import Array, ImpactModel
from crossimpact.panel import Panel
from crossimpact.release.bundle import Release
from crossimpact.response import Response
from crossimpact.slope import Slope, between_days
from pipelines import features
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

DATES = 20  # a single one says too little
#: An alarm needs the same interval to exclude 1 so many dates ago, too: two weeks running.
WEEK = 5


@dataclass(frozen=True)
class Calibration:
    """The slope of realized on predicted cross moves with its 95% interval.

    Attributes
    ----------
    slope, low, high
        1 is calibrated, 0 useless; None when nothing was predicted, or too little traded to tell.
    buckets, dates
        Used; `dates` are those looked at.
    in_sample_dates
        Of them, inside the window the release was fitted on: no evidence.
    """

    slope: float | None
    low: float | None
    high: float | None
    buckets: int
    dates: int
    in_sample_dates: int

    @classmethod
    def of(cls, found: Sequence[Row], release: Release, dates: Sequence[str]) -> Calibration:
        """The row of all names, which says nothing where there is none."""
        if found:
            row = found[0]
            return cls(row.slope, row.low, row.high, row.buckets, row.dates, row.in_sample_dates)
        return cls(None, None, None, 0, len(dates), in_sample(release, dates))

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Row:
    """The slope of one scope: all, a regime or a sector; a row of the mart `tca_calibration`.

    Attributes
    ----------
    coverage
        Share of the dates' own 95% intervals that cover 1.
    day_slope
        Of the last date alone: a dot in the trend, never an alarm.
    slope_before, low_before, high_before
        Of the `DATES` dates that ended `WEEK` dates earlier; None where there are not that many.
    alarm
        Whether both intervals lie on one side of 1.
    """

    scope: str
    name: str
    slope: float | None
    se: float | None
    low: float | None
    high: float | None
    buckets: int
    dates: int
    in_sample_dates: int
    coverage: float | None
    day_slope: float | None
    slope_before: float | None
    low_before: float | None
    high_before: float | None
    alarm: bool


@dataclass(frozen=True)
class Evidence:
    """What each bucket of some dates says of a slope: its information, its score, its date."""

    information: Array
    score: Array
    date: NDArray[np.str_]

    def slope(self, dates: Sequence[str]) -> Slope | None:
        """Of these dates; None when they do not tell."""
        rows = np.isin(self.date, dates)
        found = between_days(self.information[rows], self.score[rows], self.date[rows])
        return found if found is not None and np.isfinite(found.se) else None


def dates_until(warehouse: Warehouse, date: str, count: int = DATES) -> list[str]:
    """The last dates up to `date` whose buckets and labels are there."""
    layer = warehouse.settings.feature_layer
    there = set(warehouse.dates(layer, "buckets")) & set(warehouse.dates(layer, "regimes"))
    return sorted(other for other in there if other <= date)[-count:]


def rows(release: Release, panel: Panel | None, dates: Sequence[str]) -> list[Row]:
    """Calibration by scope on the last `DATES` of the dates, and of those a week before.

    Parameters
    ----------
    panel
        `recent` of the dates.
    dates
        Ascending, the last `DATES` + `WEEK` or fewer.
    """
    if panel is None:
        return []
    models = answering(release)
    with threadpool_limits(limits=1):  # the same digits whatever the machine's cores
        net = net_of_earlier(panel, models)
        scopes = _scopes(_opened(release, models, net), net)
        return [_row(key, evidence, release, dates) for key, evidence in scopes]


def in_stress(found: Sequence[Row]) -> str:
    """Whether cross impact was underpredicted in stress, in a sentence with its interval."""
    row = next((r for r in found if (r.scope, r.name) == ("regime", "stressed")), None)
    if row is None or row.slope is None or row.low is None or row.high is None:
        return "Whether cross impact was underpredicted in stress is unknown: too little tells."
    said = (
        f"in stress {row.slope:.2f} times the predicted cross impact was realized over"
        f" {row.dates} dates (95% interval {row.low:.2f} to {row.high:.2f})"
    )
    if row.low > 1:
        return f"Cross impact was underpredicted: {said}."
    if row.high < 1:
        return f"Cross impact was overpredicted: {said}."
    return f"No evidence that cross impact was underpredicted: {said}."


def _opened(
    release: Release, models: Mapping[str, ImpactModel], panel: Panel
) -> dict[str, HeldOut]:
    metrics = release.report.get("metrics", {})
    return {
        regime: open_held_out(model, panel.of_regime(regime), Response.of(metrics.get(regime, {})))
        for regime, model in models.items()
        if (panel.regime == regime).any()
    }


def _scopes(
    opened: Mapping[str, HeldOut], panel: Panel
) -> Iterator[tuple[tuple[str, str], Evidence]]:
    """Evidence by scope and name; names of a sector alone are held against its own noise."""
    yield ("all", ""), _evidence(opened.values())
    for regime, held in opened.items():
        yield ("regime", regime), _evidence([held])
    labels = np.array(panel.sectors)
    for sector in sorted(set(panel.sectors)):
        yield ("sector", sector), _evidence(_names(h, labels == sector) for h in opened.values())


def _names(held: HeldOut, keep: NDArray[np.bool_]) -> HeldOut:
    columns = {name: getattr(held, name)[:, keep] for name in ("flow", "left", "cross", "known")}
    return replace(held, **columns)


def _evidence(opened: Iterable[HeldOut]) -> Evidence:
    told = [(*held.calibration(), held.date) for held in opened]
    if not told:
        return Evidence(np.zeros(0), np.zeros(0), np.zeros(0, dtype=str))
    return Evidence(*(np.concatenate(part) for part in zip(*told, strict=True)))


def _row(key: tuple[str, str], evidence: Evidence, release: Release, dates: Sequence[str]) -> Row:
    last, before = dates[-DATES:], dates[:-WEEK][-DATES:]
    now, then = evidence.slope(last), evidence.slope(before) if len(dates) > DATES else None
    days = [s.interval() for date in last if (s := evidence.slope([date])) is not None]
    today = evidence.slope(last[-1:])
    low, high = now.interval() if now else (None, None)
    low_then, high_then = then.interval() if then else (None, None)
    return Row(
        *key,
        slope=now.value if now else None,
        se=now.se if now else None,
        low=low,
        high=high,
        buckets=now.n if now else 0,
        dates=len(last),
        in_sample_dates=in_sample(release, last),
        coverage=sum(a <= 1 <= b for a, b in days) / len(days) if days else None,
        day_slope=today.value if today else None,
        slope_before=then.value if then else None,
        low_before=low_then,
        high_before=high_then,
        alarm=_above(low, low_then) or _above(high and -high, high_then and -high_then, -1.0),
    )


def _above(now: float | None, before: float | None, limit: float = 1.0) -> bool:
    """Whether an end of the interval lies beyond the limit, now and a week before."""
    return now is not None and before is not None and now > limit and before > limit


def in_sample(release: Release, dates: Sequence[str]) -> int:
    """How many of the dates lie in the window the release was fitted on."""
    return sum(release.window.first <= date <= release.window.last for date in dates)


def recent(settings: Settings, release: Release, dates: Sequence[str]) -> Panel | None:
    """The dates' buckets on the release's names; None when nothing is predicted or was booked."""
    models = answering(release)
    if not any(model.edges for model in models.values()) or not dates:
        return None
    try:
        return on_models(features.load_panel(settings, dates), models)
    except EstimationError:  # no book all along
        return None


def answering(release: Release) -> dict[str, ImpactModel]:
    """The models that answer now, by regime; they are of one window and so of the same symbols."""
    answers = {regime: release.model_for(regime)[0] for regime in release.models}
    return {regime: model for regime, model in answers.items() if model is not None}


def on_models(panel: Panel, models: Mapping[str, ImpactModel]) -> Panel:
    """The panel on the models' symbols, plausible cells only."""
    first = next(iter(models.values()))
    return panel.on(first.symbols, first.sectors, first.adv).plausible()[0]


def net_of_earlier(panel: Panel, models: Mapping[str, ImpactModel]) -> Panel:
    """The panel less what fades of earlier buckets' flow, as the models' kernels say: what a
    release was fitted on."""
    kernels = {r: model.kernel for r, model in models.items() if model.kernel is not None}
    return net_of_carried(panel, models, kernels) if kernels else panel
