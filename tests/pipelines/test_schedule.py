"""`crossimpact schedule` on a promoted release, with the state the documentation shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from crossimpact.errors import ProblemError, UsageError
from crossimpact.policy import plan as plans
from crossimpact.simulate.market import plan_market
from crossimpact.simulate.spec import DEMO_HALF_LIFE_MIN, DEMO_PERMANENT, DeskSpec
from pipelines import promotion, schedule
from pipelines.store.settings import Settings
from tests.pipelines.test_release import GOOD, at, register
from tests.pipelines.test_release import desk as desk
from tests.releases import release_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "scheduler.md"


@pytest.fixture
def home(desk: Settings) -> Settings:
    """A champion that knows the names of the demo desk."""
    spec = DeskSpec(half_life_min=DEMO_HALF_LIFE_MIN, permanent=DEMO_PERMANENT)
    model = plan_market(spec).models["normal"]
    report = {"contract": {"verdict": "ok"}, "metrics": {"normal": GOOD}}
    register(desk, release_of(model, "2026-02-28", report=report))
    promotion.promote(desk, who="ann", now=at(1))
    return desk


def example() -> str:
    """The state shown in the documentation."""
    blocks = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)
    return next(block for block in blocks if '"parents"' in block)


def test_the_state_in_the_documentation_runs(home: Settings, tmp_path: Path) -> None:
    file = tmp_path / "STATE.json"
    file.write_text(example())
    plan = schedule.run(home, file)
    assert plan.answered == "optimal" and plan.release == home_digest(home)
    assert any(child.quantity for child in plan.children)
    ranked = schedule.run(home, file, policy="ranked")
    assert ranked.answered == "ranked"
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "schedule", str(file), "--json", "--home",
         str(home.home)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert plans.read_plan(done.stdout) == plan


def home_digest(home: Settings) -> str:
    from pipelines.release import champion

    return champion(home)[0].digest


def test_the_schemas_in_the_documentation_are_the_codes() -> None:
    shown = json.loads((ROOT / "docs" / "scheduler_schema.json").read_text())
    assert shown == json.loads(json.dumps(plans.schemas()))


def test_every_number_in_the_schemas_has_a_unit() -> None:
    for schema in plans.schemas().values():
        for name, struct in schema["$defs"].items():
            for field, about in struct.get("properties", {}).items():
                parts = [about, *about.get("anyOf", ()), about.get("items", {})]
                numeric = any(part.get("type") in ("number", "integer") for part in parts)
                if numeric:
                    assert any("unit" in part for part in parts), f"{name}.{field}"


def test_a_file_that_is_no_state_is_refused(home: Settings, tmp_path: Path) -> None:
    file = tmp_path / "STATE.json"
    file.write_text(example().replace('"mid"', '"middle"', 1))
    with pytest.raises(ProblemError, match="middle"):
        schedule.run(home, file)
    with pytest.raises(UsageError):
        schedule.run(home, tmp_path)
