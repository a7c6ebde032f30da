"""Releases that tests make by hand: one answers normal times with a model, and no other regime."""

from __future__ import annotations

from typing import Any

from crossimpact.model import ImpactModel
from crossimpact.release.bundle import Release
from crossimpact.release.content import Policy, Window

#: As releases before the rung `one_factor` had it.
POV = {"full": 0.15, "sector_block": 0.12, "self_only": 0.1, "fixed_pov": 0.05}
FULL, FIXED = Policy("full", "fitted", POV), Policy("fixed_pov", "3 buckets", POV)


def release_of(model: ImpactModel, as_of: str, **fields: Any) -> Release:
    """A release of one model; `fields` replace what it has otherwise."""
    given: dict[str, Any] = {
        "as_of": as_of,
        "window": Window("2026-01-01", as_of, 20),
        "flow": "own",
        "bucket_s": 300,
        "contract_version": "1",
        "code_version": "0.1.0",
        "data_digest": "d" * 64,
        "models": {"normal": model},
        "fallback": {"normal": FULL, "stressed": FIXED, "unknown": FIXED},
        "report": {},
    }
    return Release(**given | fields)
