"""A home's `policy.toml`: what its desk decides otherwise than the library's."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossimpact.errors import UsageError
from crossimpact.release.policy import DEFAULT, FILE, DeskPolicy, defaults


def load(home: Path) -> DeskPolicy:
    """The decisions of a home: the library's, but for what its own file says.

    Raises
    ------
    UsageError
        When the file cannot be read, or naming every wrong key, its value and what is allowed.
    """
    path = home / FILE
    try:
        own = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return DEFAULT
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"policy {path} cannot be read ({error})", "write it as TOML") from error
    from pipelines.store.checked import checked  # pydantic is for homes that have the file

    hint = f"every key with its unit is in crossimpact/release/{FILE}"
    return checked(DeskPolicy, over(defaults(), own), f"policy {path}", hint)


def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables, the keys of `above` winning."""
    merged = dict(below)
    for name, value in above.items():
        nested = isinstance(value, Mapping) and isinstance(below.get(name), Mapping)
        merged[name] = over(below[name], value) if nested else value
    return merged
