"""Gates: each refuses on the wrong side, on a missing metric and on NaN."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossimpact import contract
from crossimpact.errors import UsageError
from crossimpact.model import ImpactModel
from crossimpact.release import gates
from crossimpact.release.bundle import Release
from crossimpact.release.policy import DEFAULT
from tests.releases import release_of

GOOD = {
    "psd_margin": 0.5,
    "condition_number": 40.0,
    "capped_share": 0.01,
    "no_profitable_round_trip": 1.0,
    "oos_gain": 0.01,
    "placebo_gain": 0.002,
}
KNOWN = {
    "reproduced": "same within 1e-09: largest difference 8e-14",
    "coverage": 0.8,
    "age_days": 45.0,
    "valid_for_days": DEFAULT.release.valid_for_days,
}
PER_REGIME = (
    "psd_margin",
    "no_round_trip",
    "condition_number",
    "capped_share",
    "beats_self_only",
    "beats_placebo",
)
#: Per regime, and what their rows say of one without a kernel.
UNTIMED = {
    "no_round_trip_over_time": "no decay kernel, nothing is carried over",
    "drift_slope_low": "no later days to predict over time",
    "drift_slope_high": "no later days to predict over time",
}
OVER_TIME = tuple(UNTIMED)


def release(
    metrics: dict[str, Any],
    verdict: str | None = "ok",
    coupling: float = 0.5,
    decay: dict[str, Any] | None = None,
) -> Release:
    model = ImpactModel(
        symbols=("A", "B"),
        sectors=("T", "T"),
        adv=np.ones(2),
        regime="normal",
        alpha=np.ones(2),
        beta=np.ones(2),
        gamma=coupling * (1 - np.eye(2)),
    )
    contract = {"verdict": verdict} if verdict else {}
    report = {"contract": contract, "metrics": metrics, **({"decay": decay} if decay else {})}
    return release_of(model, "2026-01-31", report=report)


def failed(candidate: Release, **known: Any) -> list[str]:
    return [row.gate for row in gates.failures(gates.evaluate(candidate, KNOWN | known))]


def test_a_good_release_passes_and_the_unfitted_regime_leaves_a_row() -> None:
    rows = gates.evaluate(release({"normal": GOOD}), KNOWN)
    passed = [row.gate for row in rows if row.verdict == "pass"]
    whole = ["contract", "reproducible", "not_expired", "not_future", "regime_coverage"]
    assert passed == [*whole, *PER_REGIME]
    skipped = {(row.gate, row.regime, row.note) for row in rows if row.verdict == "skipped"}
    unfitted = {(gate, "stressed", "fixed_pov: 3 buckets") for gate in PER_REGIME}
    unknown = {("edge_turnover", "normal"), ("shadow_p90", ""), ("shadow_p95", "")}
    assert skipped == {
        *unfitted,
        *((gate, "stressed", "fixed_pov: 3 buckets") for gate in ("edge_turnover", *OVER_TIME)),
        *((gate, "normal", UNTIMED[gate]) for gate in OVER_TIME),
        ("decay_placebo", "", "no decay kernel, or too few sessions"),
        *((gate, regime, "nothing to compare with yet") for gate, regime in unknown),
    }


@pytest.mark.parametrize(
    ("metric", "bad", "gates_"),
    [
        ("psd_margin", -1e-3, ["psd_margin"]),
        ("condition_number", 1e9, ["condition_number"]),
        ("capped_share", 0.5, ["capped_share"]),
        ("oos_gain", 0.0, ["beats_self_only", "beats_placebo"]),
        ("placebo_gain", 0.01, ["beats_placebo"]),
    ],
)
def test_each_gate_refuses_what_it_is_for(metric: str, bad: float, gates_: list[str]) -> None:
    for value in (bad, float("nan"), float("inf"), None, "40", True):
        assert failed(release({"normal": GOOD | {metric: value}})) == gates_
    missing = copy.copy(GOOD)
    del missing[metric]
    assert failed(release({"normal": missing})) == gates_


@pytest.mark.parametrize(
    ("known", "gate"),
    [
        ({"reproduced": "different: rung"}, "reproducible"),
        ({"reproduced": "not the same"}, "reproducible"),
        ({"reproduced": ["same bytes"]}, "reproducible"),
        ({"coverage": 0.69}, "regime_coverage"),
        ({"age_days": 45.01}, "not_expired"),
        ({"age_days": -1.01}, "not_future"),
        ({"champion": {"normal": {"edge_turnover": 0.81}}}, "edge_turnover"),
        ({"shadow": {"p90_ratio": 1.06}}, "shadow_p90"),
        ({"shadow": {"p90_ratio": 1.0, "p95_ratio": float("nan")}}, "shadow_p95"),
    ],
)
def test_what_is_known_besides_is_judged(known: dict[str, Any], gate: str) -> None:
    assert failed(release({"normal": GOOD}), **known) == [gate]


@pytest.mark.parametrize(
    ("admissible", "p", "low", "high", "refused"),
    [
        (True, 0.5, 0.95, 1.05, []),
        (True, 0.5, 0.70, 0.81, []),  # the interval overlaps what is allowed
        (False, 0.5, 0.95, 1.05, ["no_round_trip_over_time"]),
        ("true", 0.5, 0.95, 1.05, ["no_round_trip_over_time"]),
        (True, 0.0009, 0.95, 1.05, ["decay_placebo"]),
        (True, "nan", 0.95, 1.05, ["decay_placebo"]),
        (True, 0.5, 0.60, 0.79, ["drift_slope_low"]),
        (True, 0.5, 1.26, 1.40, ["drift_slope_high"]),
        (True, 0.5, "nan", "nan", ["drift_slope_low", "drift_slope_high"]),
    ],
)
def test_a_kernel_is_judged_over_time(
    admissible: Any, p: Any, low: Any, high: Any, refused: list[str]
) -> None:
    decay = {"certificate": {"normal": {"linear_admissible": admissible}}, "placebo": {"p": p}}
    metrics = {"normal": GOOD | {"decay_slope_lo": low, "decay_slope_hi": high}}
    assert failed(release(metrics, decay=decay)) == refused
    rows = gates.evaluate(release(metrics, decay=decay), KNOWN)
    judged = {row.gate for row in rows if row.verdict != "skipped"}
    assert judged >= {*OVER_TIME, "decay_placebo"}


def test_evidence_that_must_be_there_is_missed() -> None:
    rows = gates.evaluate(release({"normal": GOOD}))
    assert [row.gate for row in gates.failures(rows)] == [
        "reproducible", "not_expired", "not_future", "regime_coverage",
    ]  # fmt: skip


def test_a_release_without_cross_terms_has_none_to_earn() -> None:
    untested = {name: value for name, value in GOOD.items() if "gain" not in name}
    assert failed(release({"normal": untested}, coupling=0.0)) == []
    assert failed(release({"normal": untested})) == ["beats_self_only", "beats_placebo"]


@pytest.mark.parametrize("verdict", ["broken", None])
def test_the_contract_gate(verdict: str | None) -> None:
    assert failed(release({"normal": GOOD}, verdict)) == ["contract"]


def test_no_metrics_at_all_fail_every_gate_of_a_fitted_regime() -> None:
    assert failed(release({})) == list(PER_REGIME)


def test_a_row_tells_gate_value_and_limit() -> None:
    rows = gates.evaluate(release({"normal": GOOD | {"capped_share": 0.5}}), KNOWN)
    (row,) = gates.failures(rows)
    assert str(row) == "capped_share [normal]: 0.5, must be <= 0.2"


@pytest.mark.parametrize(
    "text",
    [
        "[[gate]]\nname='a'\nmetric='b'\ndirection='over'\nlimit=1",
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


def test_a_release_may_be_promoted_for_as_long_as_a_consumer_uses_it() -> None:
    limits = {gate.name: (gate.limit, gate.limit_metric) for gate in gates.load()}
    assert limits["not_expired"] == (None, "valid_for_days")  # the consumer's own, as evidence
    assert limits["not_future"] == (-contract.MAX_DAYS_AHEAD, None)
