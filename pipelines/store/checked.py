"""Plain data of a file or a message as a typed object: what is wrong is told by its name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, with_config

from crossimpact.errors import UsageError

T = TypeVar("T")


def checked(kind: type[T], data: Any, what: str, hint: str) -> T:
    """The dataclass `kind` from plain data, in its own types and nothing else.

    Raises
    ------
    UsageError
        Naming every wrong key of `what`, its value and what is allowed.
    """
    strict = with_config(ConfigDict(extra="forbid"))(kind)  # and so are the dataclasses inside it
    try:
        return TypeAdapter(strict).validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        raise UsageError(f"{what}: {told(error)}", hint) from error


def told(error: ValidationError) -> str:
    """Every wrong key in one line."""
    return "; ".join(_told(dict(e)) for e in error.errors(include_url=False, include_context=False))


def _told(error: Mapping[str, Any]) -> str:
    """`key = value: what is wrong`; a whole table's value says nothing."""
    parts: Iterable[Any] = error["loc"]
    place = ".".join(map(str, parts))
    value, message = error["input"], error["msg"].removeprefix("Value error, ")
    if error["type"] in ("missing", "missing_argument"):
        return f"{place} is missing"
    if error["type"] == "unexpected_keyword_argument":
        message = "unknown key"
    shown = f" = {value!r}" if place and not isinstance(value, dict | list | BaseModel) else ""
    return f"{place}{shown}: {message}" if place else message
