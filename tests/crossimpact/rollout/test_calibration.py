"""The judge's calibration: a planted slope is found, its interval holds it, else silence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossimpact.rollout.calibration import EXPECTED, judge_calibration
from crossimpact.rollout.outcomes import Outcomes
from tests.crossimpact.rollout.desk import slice_of


def planted(slope: float, seed: int = 0) -> Outcomes:
    of, _ = slice_of(40, 20, seed=seed)
    expected = 15 + 10 * np.random.default_rng(seed).standard_normal(len(of))
    controls = of.controls.copy()
    controls[:, EXPECTED] = expected
    cost = of.is_bps + slope * expected
    return replace(of, controls=controls, is_bps=cost)


@pytest.mark.parametrize("slope", [0.0, 1.0, 1.8])
def test_a_planted_slope_is_within_its_interval(slope) -> None:
    held = [
        found.low <= slope <= found.high
        for found in (judge_calibration(planted(slope, seed)) for seed in range(20))
    ]
    assert np.mean(held) >= 0.85
    assert judge_calibration(planted(slope)).slope == pytest.approx(slope, abs=0.5)


def test_nothing_is_told_without_days_or_expectations() -> None:
    of, _ = slice_of(3, 8, seed=1)
    flat = of.controls.copy()
    flat[:, EXPECTED] = 5.0
    for few in (of.where(of.day < 0), of.where(of.day < 1), replace(of, controls=flat)):
        assert np.isnan(judge_calibration(few).slope)
