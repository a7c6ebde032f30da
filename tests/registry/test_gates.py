"""Gates: each refuses on the wrong side, on a missing metric and on NaN."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossimpact.errors import UsageError
from crossimpact.model import ImpactModel
from registry import gates
from registry.bundle import Release

GOOD = {
    "psd_margin": 0.5,
    "condition_number": 40.0,
    "capped_share": 0.01,
    "no_profitable_round_trip": 1.0,
    "oos_r2_shipped": 0.03,
    "oos_r2_self_only": 0.02,
}


def release(metrics: dict[str, Any], verdict: str | None = "ok") -> Release:
    model = ImpactModel(
        symbols=("A",),
        sectors=("T",),
        adv=np.ones(1),
        regime="normal",
        alpha=np.ones(1),
        beta=np.ones(1),
        gamma=np.zeros((1, 1)),
    )
    fixed = {"rung": "fixed_pov", "reason": "3 buckets", "max_pov": 0.05}
    return Release(
        as_of="2026-01-31",
        window={},
        flow="own",
        bucket_s=300,
        contract_version="1",
        code_version="0",
        data_digest="",
        models={"normal": model},
        fallback={
            "normal": {"rung": "full", "reason": "", "max_pov": 0.1},
            "stressed": fixed,
            "unknown": fixed,
        },
        report={"contract": {"verdict": verdict} if verdict else {}, "metrics": metrics},
    )


def failed(candidate: Release) -> list[str]:
    return [row.gate for row in gates.failures(gates.evaluate(candidate))]


def test_a_good_release_passes_and_the_unfitted_regime_leaves_a_row() -> None:
    rows = gates.evaluate(release({"normal": GOOD}))
    assert [row.gate for row in rows if row.verdict == "pass"] == [
        "contract",
        "psd_margin",
        "no_round_trip",
        "condition_number",
        "capped_share",
        "oos_beats_self",
    ]
    skipped = [row for row in rows if row.verdict == "skipped"]
    assert {row.regime for row in skipped} == {"stressed"}
    assert {row.note for row in skipped} == {"fixed_pov: 3 buckets"}
    assert len(rows) == 6 + 5


@pytest.mark.parametrize(
    ("metric", "bad", "gate"),
    [
        ("psd_margin", -1e-3, "psd_margin"),
        ("condition_number", 1e9, "condition_number"),
        ("capped_share", 0.5, "capped_share"),
        ("oos_r2_shipped", 0.0199, "oos_beats_self"),
        ("oos_r2_self_only", 0.0301, "oos_beats_self"),
    ],
)
def test_each_gate_refuses_what_it_is_for(metric: str, bad: float, gate: str) -> None:
    for value in (bad, float("nan"), float("inf"), None, "40", True):
        assert failed(release({"normal": GOOD | {metric: value}})) == [gate]
    missing = copy.copy(GOOD)
    del missing[metric]
    assert failed(release({"normal": missing})) == [gate]


def test_equal_to_self_only_is_good_enough() -> None:
    assert failed(release({"normal": GOOD | {"oos_r2_shipped": 0.02}})) == []


@pytest.mark.parametrize("verdict", ["broken", None])
def test_the_contract_gate(verdict: str | None) -> None:
    assert failed(release({"normal": GOOD}, verdict)) == ["contract"]


def test_no_metrics_at_all_fail_every_gate_of_a_fitted_regime() -> None:
    assert len(failed(release({}))) == 5


def test_a_row_tells_gate_value_and_limit() -> None:
    rows = gates.evaluate(release({"normal": GOOD | {"capped_share": 0.5}}))
    (row,) = gates.failures(rows)
    assert str(row) == "capped_share [normal]: 0.5, must be <= 0.2"


@pytest.mark.parametrize(
    "text",
    [
        "[[gate]]\nname='a'\nmetric='b'\ndirection='above'\nlimit=1",
        "[[gate]]\nname='a'\nmetric='b'\ndirection='at_most'",
        "[[gate]]\nname='a'\nmetric='b'\ndirection='at_most'\nlimit=1\nlimit_metric='c'",
        "[[gate]]\nname='a'\ntypo='b'",
        "gate",
        "",
    ],
)
def test_a_gate_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "gates.toml").write_text(text)
    with pytest.raises(UsageError):
        gates.load(tmp_path / "gates.toml")
