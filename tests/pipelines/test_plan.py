"""The plan of a refit: what one task writes another reads, and nothing else passes for one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossimpact.errors import UsageError
from crossimpact.release.policy import DEFAULT
from pipelines.plan import RefitPlan

#: As it was written when a plan was a plain dictionary.
BEFORE = {
    "bucket_s": 300, "dates": ["2026-03-30", "2026-03-31"], "flow": "own",
    "key": "2026-03-31-own-1a2b3c4d", "landing": "/data/landing", "loss": "huber",
}  # fmt: skip

plans = st.builds(
    RefitPlan,
    key=st.from_regex(r"\A[a-z0-9-]+\Z"),
    flow=st.sampled_from(["own", "public"]),
    bucket_s=st.sampled_from([5, 60, 300, 3600]),
    landing=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
    .filter(lambda name: name not in (".", ".."))
    .map(Path("/data").joinpath),
    dates=st.lists(st.dates().map(str), min_size=1).map(tuple),
    loss=st.sampled_from(["huber", "quantile"]),
)


@given(plan=plans)
def test_from_dict_is_the_inverse_of_to_dict_through_json(plan: RefitPlan) -> None:
    assert RefitPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_a_plan_of_the_version_before_loads(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(BEFORE))
    plan = RefitPlan.read(path)
    assert (plan.key, plan.dates[-1], plan.landing) == (
        BEFORE["key"],
        "2026-03-31",
        Path("/data/landing"),
    )
    assert BEFORE.items() <= plan.to_dict().items()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"flow": "desk"}, "flow = 'desk': Input should be 'own' or 'public'"),
        ({"bucket_s": "5min"}, "bucket_s = '5min': Input should be a valid integer"),
        ({"bucket_s": 300.5}, "bucket_s = 300.5: Input should be a valid integer"),
        ({"dates": []}, "dates: Tuple should have at least 1 item"),
        ({"dates": ["31/03/2026"]}, r"dates.0 = '31/03/2026': String should match pattern"),
        ({"loss": "l2"}, "loss = 'l2': Input should be 'huber' or 'quantile'"),
        ({"key": "../../elsewhere"}, "key = '../../elsewhere': String should match pattern"),
        ({"landing": None}, "landing = None: Input"),
        ({"window": 60}, "window = 60: unknown key"),
    ],
)
def test_from_dict_names_every_wrong_key_with_its_value(change: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        RefitPlan.from_dict(BEFORE | change)
    assert refused.value.exit_code == 2 and "crossimpact refit" in str(refused.value)


@pytest.mark.parametrize("name", sorted(BEFORE))
def test_from_dict_names_a_key_that_is_missing(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is missing"):
        RefitPlan.from_dict({key: BEFORE[key] for key in BEFORE if key != name})


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_read_names_a_file_that_holds_no_plan(tmp_path: Path, content: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"plan .*plan\.json"):
        RefitPlan.read(path)


def test_a_plan_older_than_the_policy_was_made_by_the_librarys() -> None:
    assert RefitPlan.from_dict(BEFORE).policy == DEFAULT.refit


def test_a_plan_keeps_the_policy_it_was_made_by() -> None:
    own = replace(DEFAULT.refit, false_discovery_rate=0.05)
    plan = replace(RefitPlan.from_dict(BEFORE), policy=own)
    assert RefitPlan.from_dict(json.loads(json.dumps(plan.to_dict()))).policy == own


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"min_edge_bps": -1}, "min_edge_bps = -1, must be bps >= 0"),
        ({"edge": 1}, "policy.edge = 1: unknown key"),
    ],
)
def test_from_dict_checks_the_policy_of_a_plan(change: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        RefitPlan.from_dict(BEFORE | {"policy": DEFAULT.refit.to_dict() | change})
