"""A line of the ledger: its fields, and what values they may have.

A chain that is whole says that nobody changed a line, not that its writer made sense: a line may
come from a later version, or from somebody who can hash. So values are checked before any is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Literal, get_args

from crossimpact.ladder import RUNGS, Rung
from crossimpact.release import hash_chain

Action = Literal["promote", "override", "rollback", "demote", "fallback", "drift"]
ACTIONS: tuple[Action, ...] = get_args(Action)
#: Actions that name the champion.
CHANGES: tuple[Action, ...] = ("promote", "override", "rollback")
#: How `who` and `approver` are known: as typed or from the operating system, or by a login that a
#: server checked.
Identity = Literal["name", "login"]
DIGEST = re.compile(r"[0-9a-f]{64}")
#: Counts and versions lie below: a database takes no larger number.
MAX_COUNT = 1 << 63


@dataclass(frozen=True)
class Entry:
    """One line: `old` and `new` are the champions' digests, `version` is the new one's in MLflow.

    `rungs` holds regimes to a rung of the ladder (`demote`), or names who answered (`fallback`);
    `refused` names the gates an override went against; `identity` says how far `who` and `approver`
    can be relied on, and is not in the line when they are mere names.
    """

    seq: int
    when: str
    who: str
    action: Action
    old: str | None
    new: str | None
    version: int | None
    why: str
    approver: str
    refused: tuple[str, ...]
    rungs: Mapping[str, Rung]
    prev: str
    identity: Identity = "name"

    @property
    def line(self) -> bytes:
        """The entry's bytes in the file, newline included."""
        body = asdict(self)
        if self.identity == "name":
            del body["identity"]
        return hash_chain.line(body)

    @property
    def moment(self) -> datetime:
        return datetime.fromisoformat(self.when)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"refused": list(self.refused)}


def parse(body: Mapping[str, Any]) -> Entry:
    """The entry of a line's fields.

    Raises
    ------
    ValueError
        Naming the field, its value and what it must be.
    """
    known = {field.name for field in fields(Entry)}
    given = {"identity": "name", **body}
    if set(given) != known:
        odd = ", ".join(sorted(set(given) ^ known))
        raise ValueError(f"the fields {odd} are missing, or unknown to this version")
    for name, (good, must) in RULES.items():
        if not good(given[name]):
            raise ValueError(f"{name} is {_shown(given[name])}, must be {must}")
    entry = Entry(**given | {"refused": tuple(given["refused"])})
    if entry.action in CHANGES and (entry.new is None or entry.version is None):
        raise ValueError(f"a {entry.action} names no release")
    return entry


def _is_moment(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_COUNT


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and DIGEST.fullmatch(value) is not None


def _is_text(value: Any) -> bool:
    """Half a character, as bytes that are no UTF-8 leave one behind, is no text."""
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_text, value))


def _are_rungs(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(regime, str) and rung in RUNGS for regime, rung in value.items()
    )


def _or_none(good: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or good(value)


RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "seq": (_is_count, "a count"),
    "when": (_is_moment, "a moment with its time zone"),
    "who": (_is_text, "text"),
    "action": (lambda value: value in ACTIONS, f"one of {', '.join(ACTIONS)}"),
    "old": (_or_none(_is_digest), "a digest or nothing"),
    "new": (_or_none(_is_digest), "a digest or nothing"),
    "version": (_or_none(_is_count), "a version or nothing"),
    "why": (_is_text, "text"),
    "approver": (_is_text, "text"),
    "refused": (_are_texts, "a list of texts"),
    "rungs": (_are_rungs, f"regimes with a rung out of {', '.join(RUNGS)}"),
    "prev": (_is_digest, "a digest"),
    "identity": (lambda value: value in get_args(Identity), "name or login"),
}


def _shown(value: Any) -> str:
    """A value nobody vouches for, short and in plain characters."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
