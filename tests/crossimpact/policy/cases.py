"""The reference cases: problems in the command's own format, with what they should cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.sequence.problem_file import Task, parse

Case = tuple[Task, dict[str, Any]]


def load() -> dict[str, Case]:
    """Every case by ``file: name``."""
    found = {}
    for path in sorted((Path(__file__).parent / "cases").glob("*.json")):
        for case in json.loads(path.read_text())["cases"]:
            found[f"{path.stem}: {case['name']}"] = parse(case["problem"]), case["expect"]
    return found
