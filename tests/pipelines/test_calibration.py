"""Calibration by scope: what an alarm needs, how often it is false, the sentence on stress."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.calibration import DATES, WEEK, Evidence, Row, _row, in_stress
from tests.pipelines import tca_desk

DAYS = [f"2026-03-{day:02d}" for day in range(1, DATES + WEEK + 1)]
RELEASE = tca_desk.release(tca_desk.model())


def evidence(slope: list[float], seed: int = 1, noise: float = 1.0, buckets: int = 12) -> Evidence:
    """Buckets of the days, with the slope of each day."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (len(slope), buckets))
    y = np.array(slope)[:, None] * x + noise * rng.normal(size=x.shape)
    return Evidence((x * x).ravel(), (x * y).ravel(), np.repeat(DAYS[-len(slope) :], buckets))


def found(told: Evidence, days: list[str] = DAYS) -> Row:
    return _row(("all", ""), told, RELEASE, days)


def test_a_slope_beyond_1_two_weeks_running_is_an_alarm() -> None:
    row = found(evidence([1.8] * len(DAYS)))
    assert row.alarm
    assert row.low is not None and row.low_before is not None and min(row.low, row.low_before) > 1
    assert row.slope == pytest.approx(1.8, abs=0.2)
    assert row.dates == DATES


def test_a_slope_far_below_1_two_weeks_running_is_an_alarm() -> None:
    assert found(evidence([0.2] * len(DAYS))).alarm


def test_one_week_beyond_1_is_no_alarm() -> None:
    row = found(evidence([1.0] * DATES + [4.0] * WEEK, noise=0.3))
    assert row.low is not None and row.low > 1
    assert not row.alarm


def test_without_a_week_before_there_is_no_alarm() -> None:
    row = found(evidence([1.8] * DATES), DAYS[-DATES:])
    assert (row.slope_before, row.alarm) == (None, False)


def test_calibrated_desk_months_raise_false_alarms_on_at_most_5_percent() -> None:
    rows = [found(evidence([1.0] * len(DAYS), seed)) for seed in range(100)]
    assert sum(row.alarm for row in rows) <= 5
    covered = [row.low <= 1 <= row.high for row in rows if row.low is not None and row.high]
    assert np.mean(covered) >= 0.90
    coverage = [row.coverage for row in rows if row.coverage is not None]
    assert np.mean(coverage) >= 0.90


def test_the_last_date_alone_is_a_dot() -> None:
    row = found(evidence([1.0] * (len(DAYS) - 1) + [3.0], noise=0.1))
    assert row.day_slope == pytest.approx(3.0, abs=0.2)
    assert not row.alarm


def test_nothing_predicted_tells_nothing() -> None:
    none = Evidence(np.zeros(0), np.zeros(0), np.zeros(0, dtype=str))
    row = found(none)
    assert (row.slope, row.coverage, row.alarm, row.buckets) == (None, None, False, 0)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(1.1, 2.0, "was underpredicted"), (0.8, 1.4, "No evidence"), (0.1, 0.9, "overpredicted")],
)
def test_the_sentence_on_stress_has_its_interval(low: float, high: float, said: str) -> None:
    row = found(evidence([1.0] * len(DAYS)))
    row = replace(row, scope="regime", name="stressed", slope=1.25, low=low, high=high)
    text = in_stress([row])
    assert said in text
    assert f"{low:.2f} to {high:.2f}" in text
    assert "unknown" in in_stress([])
