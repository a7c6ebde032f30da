"""What each guardrail state still allows a desk: `allowances.toml`, beside the shipped ones.

    [amber]
    pov_share = 0.5      # of the participation caps, 0 to 1
    names_share = 0.5    # of the names at once, 0 to 1
    aggressive = false
    critical_only = false
    rest_share = 0.1     # of the participation cap: what is held rests below, else it goes evenly
    rung = "sector_block"    # the most that may answer

A state or a number that is not named stays as shipped. No state allows more than a better one.
"""

from __future__ import annotations

import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from crossimpact.errors import UsageError
from crossimpact.ladder import RUNGS
from crossimpact.policy.state import ALLOWED, Allowance, GuardrailState


def read(path: Path) -> dict[GuardrailState, Allowance]:
    """The states that the file names; none where there is no file.

    Raises
    ------
    UsageError
        When the file is no TOML, names an unknown state or field or a number out of its limits, or
        allows more in a worse state.
    """
    if not path.exists():
        return {}
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        own = msgspec.convert(_completed(told), dict[GuardrailState, Allowance])
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "see docs/live.md") from error
    for (better, more), (worse, less) in pairwise({**ALLOWED, **own}.items()):
        if field := _looser(less, more):
            raise UsageError(
                f"{path}: {worse} has {field} {getattr(less, field)}, {better} "
                f"{getattr(more, field)}",
                "a worse state allows no more",
            )
    return own


def _completed(told: dict[str, Any]) -> dict[str, Any]:
    """What is told, over what the state allows as shipped."""
    shipped: dict[str, Any] = msgspec.to_builtins(dict(ALLOWED))
    return {
        state: {**shipped.get(state, {}), **fields} if isinstance(fields, dict) else fields
        for state, fields in told.items()
    }


def _looser(less: Allowance, more: Allowance) -> str:
    """The first field in which the worse state allows more; empty when none."""
    if RUNGS.index(less.rung) < RUNGS.index(more.rung):
        return "rung"
    shares = ("pov_share", "names_share", "aggressive")
    wider = [name for name in shares if getattr(less, name) > getattr(more, name)]
    return next(iter(wider), "critical_only" if more.critical_only > less.critical_only else "")
