"""A home's `rollout.toml`: what its desk decides otherwise than the library's."""

from __future__ import annotations

import tomllib
from pathlib import Path

from crossimpact.errors import UsageError
from crossimpact.rollout.stages import FILE, RolloutPlan, defaults
from pipelines.store.checked import checked
from pipelines.store.policy_file import over


def load(home: Path) -> RolloutPlan:
    """The stages of a home: the library's, but for what its own file says.

    Raises
    ------
    UsageError
        When the file cannot be read, or naming every wrong key, its value and what is allowed.
    """
    path = home / FILE
    try:
        own = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"rollout {path} cannot be read ({error})", "write it as TOML") from error
    hint = f"every key with its unit is in crossimpact/rollout/{FILE}"
    return checked(RolloutPlan, over(defaults(), own), f"rollout {path}", hint)
