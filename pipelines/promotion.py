"""What changes the champion: promote, roll back, demote; and what only bears witness.

The alias is moved just before the ledger's line is written, both under the ledger's lock. A kill in
between leaves the old champion in force here, and promoting again completes the change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from crossimpact.errors import GateRefused, StaleModel, Unavailable, UsageError
from pipelines import evidence
from pipelines.config import Settings
from pipelines.release import resolve, standing
from registry import bundle, gates, ledger, tracking
from registry.bundle import Release
from registry.ledger import Action, Entry, Standing
from registry.tracking import CHALLENGER, CHAMPION, Version


@dataclass(frozen=True)
class Promotion:
    """A change of champion, or why there was none (`changed` false); digests in `old` and `new`."""

    action: str
    changed: bool
    id: str
    version: int
    old: str | None
    new: str
    gates: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""
    held: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def promote(
    settings: Settings,
    release: str | None = None,
    *,
    override: bool = False,
    reason: str = "",
    approver: str = "",
    who: str,
    now: datetime | Callable[[], datetime],
) -> Promotion:
    """Make a release champion: gates, then the alias, then the ledger.

    The champion promoted again is freed of the demotions that were in force when this was asked
    for, not of one that came since: nobody has seen that.

    Parameters
    ----------
    release
        Alias or release id; the challenger when None.
    override
        Promote in spite of refusing gates; asks for `reason` and an `approver` other than `who`.
    now
        When, UTC; a clock is read once the gates have spoken, which may take minutes.

    Raises
    ------
    GateRefused
        Naming each refusing gate with its value and limit.
    StaleModel
        When there is no such release, or it does not verify.
    """
    if override:
        _check_approval(reason, approver, who)
    asked = _held(ledger.standing(ledger.entries(settings.ledger_path)))
    candidate, version = resolve(settings, release or CHALLENGER)
    again = evidence.reproduced(settings, candidate)  # takes its time
    with ledger.locked(settings.ledger_path) as book:
        live = book.standing
        lifted = _held(live) if live and live.digest == candidate.digest else {}
        if live and live.digest == candidate.digest:
            if not lifted and live.version == version.version:
                return _unchanged(settings, live.champion)
            if lifted and lifted != asked:
                note = f"demoted meanwhile, {_told(lifted)}: promote again to lift that"
                return _unchanged(settings, live.champion, note)
        rows = gates.evaluate(candidate, evidence.gather(settings, candidate, live, again))
        refused = [str(row) for row in gates.failures(rows)]
        if refused and not override:
            raise _refusal(candidate, rows)
        when, action = now() if callable(now) else now, _action(refused)
        book.stamp(when, action)
        tracking.move_alias(settings.mlflow_uri, CHAMPION, version.version)
        note = f"lifts the demotion, {_told(lifted)}" if lifted else ""
        entry = book.append(
            when=when,
            who=who,
            action=action,
            new=candidate.digest,
            version=version.version,
            why=reason or note,
            approver=approver,
            refused=refused,
        )
    _tell(settings, version, entry)
    return replace(_promotion(entry, [row.to_dict() for row in rows]), note=note)


def check(settings: Settings, release: str | None = None) -> dict[str, Any]:
    """What the gates say of a release (the challenger when None), without promoting it.

    Returns
    -------
    dict
        `release`, `gates` (one row per gate and regime) and `refused` (the failing ones as text).
    """
    candidate, _ = resolve(settings, release or CHALLENGER)
    live = ledger.standing(ledger.entries(settings.ledger_path))
    again = evidence.reproduced(settings, candidate)
    rows = gates.evaluate(candidate, evidence.gather(settings, candidate, live, again))
    return {
        "release": candidate.id,
        "gates": [row.to_dict() for row in rows],
        "refused": [str(row) for row in gates.failures(rows)],
    }


def rollback(settings: Settings, *, who: str, reason: str, now: datetime) -> Promotion:
    """Make the champion before this one champion again; twice goes back two promotions.

    Raises
    ------
    StaleModel
        When the ledger knows no earlier champion, or its files do not verify.
    """
    with ledger.locked(settings.ledger_path) as book:
        target = ledger.previous(book.entries)
        if target is None:
            raise StaleModel(
                f"ledger {settings.ledger_path} knows no earlier champion to go back to",
                "promote another release",
            )
        _, version = resolve(settings, target.new or "")
        tracking.move_alias(settings.mlflow_uri, CHAMPION, version.version)
        entry = book.append(
            when=now,
            who=who,
            action="rollback",
            new=target.new,
            version=version.version,
            why=reason,
        )
    return _promotion(entry)


def demote(
    settings: Settings, rungs: Mapping[str, str], *, who: str, reason: str, now: datetime,
    of: str = "",
) -> Promotion:  # fmt: skip
    """Hold regimes of the champion to lower rungs of its ladder until it is promoted again.

    Parameters
    ----------
    rungs
        Per regime the highest rung allowed. A regime that is held there, or answered lower,
        already is left alone.
    of
        The release that is meant, by digest; when another is champion by now, nothing is done.

    Raises
    ------
    UsageError
        On a regime that the champion does not have, or a rung that does not exist.
    StaleModel
        When nothing is promoted.
    """
    with ledger.locked(settings.ledger_path) as book:
        live = standing(settings, book.entries)
        if not live.digest.startswith(of):
            return _nothing(live.champion, f"release {of[: bundle.ID_LENGTH]} is not champion")
        known = _at_hand(settings, live)
        lower = {k: rung for k, rung in rungs.items() if _is_lower(known, live, k, rung)}
        if not lower:
            return _nothing(live.champion, "held there already")
        entry = book.append(when=now, who=who, action="demote", why=reason, rungs=lower)
    return _promotion(entry)


def witness(
    settings: Settings, action: Action, *, who: str, reason: str, now: datetime,
    rungs: Mapping[str, str] | None = None, of: str = "",
) -> bool:  # fmt: skip
    """Write down what was seen of the champion (`fallback`, `drift`); nothing live changes.

    Returns
    -------
    bool
        False when the ledger had it already (the same witness of the same champion is one), or
        when the release `of` that it speaks of is not champion.
    """
    with ledger.locked(settings.ledger_path) as book:
        digest = book.standing.digest if book.standing else ""
        if not digest.startswith(of) or witnessed(book.entries, action, who, reason):
            return False
        book.append(when=now, who=who, action=action, why=reason, rungs=rungs)
        return True


def witnessed(book: Sequence[Entry], action: Action, who: str, reason: str) -> bool:
    """Whether the ledger has this witness of the present champion."""
    live = ledger.standing(book)
    seen = (action, who, reason, live.digest if live else None)
    return any((e.action, e.who, e.why, e.new) == seen for e in book)


def _check_approval(reason: str, approver: str, who: str) -> None:
    if not reason.strip() or not approver.strip():
        raise UsageError(
            "an override needs a reason and an approver", "add --reason R --approver A"
        )
    if approver.strip().casefold() == who.strip().casefold():
        raise GateRefused(
            f"{who} cannot approve their own override", "ask a second person to approve"
        )


def _refusal(candidate: Release, rows: Sequence[gates.Row]) -> GateRefused:
    refused = [str(row) for row in gates.failures(rows)]
    return GateRefused(
        f"release {candidate.id} is refused by {len(refused)} gate(s): {'; '.join(refused)}",
        "refit, or override with --reason and the --approver's name",
        {"release": candidate.id, "gates": [row.to_dict() for row in rows]},
    )


def _tell(settings: Settings, version: Version, entry: Entry) -> None:
    """MLflow's tag of what the gates said; the promotion stands whether or not it hears of it."""
    said = f"refused: {'; '.join(entry.refused)}" if entry.refused else "pass"
    with suppress(Unavailable, OSError):
        by = f"{entry.action} by {entry.who} on {entry.when[:10]}"
        tracking.note(settings.mlflow_uri, version, {"gates": said, "promoted": by})


def _at_hand(settings: Settings, live: Standing) -> Release | None:
    """The champion, None when the registry cannot give it: a demotion does not wait for that."""
    try:
        return replace(resolve(settings, live.digest)[0], held=live.held)
    except (Unavailable, StaleModel, OSError):
        return None


def _is_lower(release: Release | None, live: Standing, regime: str, rung: str) -> bool:
    if rung not in bundle.RUNGS:
        raise UsageError(f"rung {rung!r} is none of {', '.join(bundle.RUNGS)}")
    if release is None:
        present = live.held.get(regime, {"rung": bundle.RUNGS[0]})["rung"]
    elif regime in release.models:
        present = release.model_for(regime).rung
    else:
        known = ", ".join(sorted(release.models))
        raise UsageError(f"release {release.id} has no model of regime {regime!r}", f"has {known}")
    return bundle.RUNGS.index(rung) > bundle.RUNGS.index(present)


def _unchanged(settings: Settings, entry: Entry, note: str = "already champion") -> Promotion:
    """Nothing to change; an alias that points elsewhere is put back."""
    pointed = tracking.alias_version(settings.mlflow_uri, CHAMPION)
    if pointed != entry.version:
        tracking.move_alias(settings.mlflow_uri, CHAMPION, entry.version or 0)
        note += f"; the alias pointed at version {pointed} and was put back"
    return _nothing(entry, note)


def _nothing(entry: Entry, note: str) -> Promotion:
    return replace(_promotion(entry), action="none", changed=False, old=entry.new, note=note)


def _action(refused: Sequence[str]) -> Action:
    return "override" if refused else "promote"


def _held(live: Standing | None) -> dict[str, str]:
    """The rungs that regimes are held to."""
    return {regime: hold["rung"] for regime, hold in live.held.items()} if live else {}


def _told(held: Mapping[str, str]) -> str:
    return ", ".join(f"{regime} to {rung}" for regime, rung in held.items())


def _promotion(entry: Entry, rows: list[dict[str, Any]] | None = None) -> Promotion:
    digest = entry.new or ""
    return Promotion(
        entry.action, True, digest[: bundle.ID_LENGTH], entry.version or 0, entry.old, digest,
        rows or [], held=dict(entry.rungs),
    )  # fmt: skip
