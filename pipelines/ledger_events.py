"""Lines of the ledger that record what was seen of the champion and change nothing live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from crossimpact.ladder import Rung
from crossimpact.release import hash_chain, ledger
from crossimpact.release.ledger import Action, Entry
from pipelines.store.settings import Settings


def record(
    settings: Settings, action: Action, *, who: str, reason: str, now: datetime,
    rungs: Mapping[str, Rung] | None = None, of: str = "", wait_s: float = hash_chain.WAIT_S,
) -> bool:  # fmt: skip
    """Write down what was seen of the champion (`fallback`, `drift`); nothing live changes.

    Returns
    -------
    bool
        False when the ledger had it already (the same event of the same champion is one), or
        when the release `of` that it speaks of is not champion.
    """
    with ledger.locked(settings.ledger_path, wait_s) as held:
        digest = held.standing.digest if held.standing else ""
        if not digest.startswith(of) or recorded(held.entries, action, who, reason):
            return False
        held.append(when=now, who=who, action=action, why=reason, rungs=rungs)
        return True


def recorded(lines: Sequence[Entry], action: Action, who: str, reason: str) -> bool:
    """Whether the ledger has this event of the present champion."""
    live = ledger.standing(lines)
    seen = (action, who, reason, live.digest if live else None)
    return any((e.action, e.who, e.why, e.new) == seen for e in lines)
