"""Two refits are one release up to rounding: numbers may move by it, decisions may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crossimpact.release.bundle import Release
from crossimpact.release.reproducible import equal, verdict
from tests.registry.servers import sample

REGIME = "normal"


@pytest.fixture(scope="module")
def shipped() -> Release:
    return sample("2026-01-31")


def with_model(shipped: Release, **changes: Any) -> Release:
    model = replace(shipped.models[REGIME], **changes)
    return replace(shipped, models={**shipped.models, REGIME: model})


def with_policy(shipped: Release, **changes: Any) -> Release:
    policy = replace(shipped.fallback[REGIME], **changes)
    return replace(shipped, fallback={**shipped.fallback, REGIME: policy})


def scaled(factor: float) -> Callable[[Release], Release]:
    return lambda shipped: with_model(shipped, gamma=factor * shipped.models[REGIME].gamma)


def uncoupled(shipped: Release) -> Release:
    gamma = shipped.models[REGIME].gamma.copy()
    first = tuple(np.argwhere(gamma)[0])
    gamma[first] = 0.0
    return with_model(shipped, gamma=gamma)


def reported(**changes: Any) -> Callable[[Release], Release]:
    return lambda shipped: replace(shipped, report={**shipped.report, **changes})


def test_the_same_bytes_are_said_to_be(shipped: Release) -> None:
    assert verdict(shipped, sample("2026-01-31")) == "same bytes"


@pytest.mark.parametrize("size", [1e-15, 8e-14, 5e-10])
def test_numbers_may_differ_by_rounding(shipped: Release, size: float) -> None:
    other = scaled(1 + size)(shipped)
    assert other.digest != shipped.digest
    said = verdict(shipped, other)
    assert said.startswith("same within 1e-09: largest difference ") and ".bps." in said
    told = float(said.split("difference ")[1].split()[0])
    assert told == pytest.approx(size, rel=0.6, abs=3e-16)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (scaled(1 + 3e-9), "couplings.normal.full.bps."),
        (uncoupled, "couplings.normal.full.pairs."),
        (lambda r: with_model(r, alpha=r.models[REGIME].alpha + 1e-6), "alpha_bps[0]"),
        (lambda r: with_policy(r, reason="another"), "fallback.normal.reason"),
        (lambda r: replace(r, data_digest="0" * 64), "release.data_digest"),
        (lambda r: replace(r, contract_version="1.9"), "release.contract_version"),
        (lambda r: replace(r, bucket_s=60), "release.bucket_s"),
        (reported(buckets=81), "release.report.buckets"),
        (reported(known=True), "release.report.known"),
        (reported(gain="nan"), "release.report.gain"),
    ],
)
def test_the_first_place_that_differs_is_named_with_both(
    shipped: Release, change: Callable[[Release], Release], where: str
) -> None:
    base = reported(buckets=80, known=1, gain=0.2)(replace(shipped, contract_version="1.8"))
    said = verdict(base, change(base))
    assert said.startswith("different: ") and where in said.split(" is ")[0], said
    assert ", run again " in said


def test_a_rung_comes_before_the_numbers_that_follow_from_it(shipped: Release) -> None:
    other = with_policy(scaled(2.0)(shipped), rung="sector_block")
    said = verdict(shipped, other)
    assert said.startswith('different: fallback.normal.rung is "full", run again "sector_block"')


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (1.0, 1.0 + 9e-10, True), (1.0, 1.0 + 2e-9, False),
        (0.0, 9e-13, True), (0.0, 2e-12, False), (0.0, -0.0, True), (1e-15, -1e-15, True),
        (1e6, 1e6 + 5e-4, True), (3, 3, True), (3, 4, False), (3, 3.0, True),
        (1, True, False), (None, None, True), (None, 0.0, False), (0.1, "0.1", False),
        ("gain 0.012 of 0.5", "gain 0.013 of 0.5", True),
        ("gain 0.012 of 0.5", "gain 0.014 of 0.5", False),
        ("slope -0.00 seen", "slope 0.00 seen", True),
        ("number 9.99e+03 seen", "number 1e+04 seen", True),
        ("80 buckets of 0.5", "81 buckets of 0.5", False),
        ("made by 1.2.3 here", "made by 1.2.4 here", False), ("1.2", "1.3", False),
        ("on 2026-03-02 it was", "on 2026-03-03 it was", False),
        ("12e45", "12e46", False), ("beats self_only", "loses to self_only", False),
    ],
)  # fmt: skip
def test_leaves_are_equal_up_to_rounding_only(old: Any, new: Any, same: bool) -> None:
    assert equal(old, new) == equal(new, old) == same
