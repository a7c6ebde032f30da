"""What changes the champion: promote, roll back, demote.

The ledger's line is the change. It is written under the ledger's lock, inside which nobody waits
for a server; what it takes to judge is gathered before, and judged again when another change came
in between. MLflow's alias follows afterwards: where that cannot be had, the change stands and says
so, and promoting again, or the next change, puts the alias right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from crossimpact import json_log
from crossimpact.consumer.version import Version
from crossimpact.errors import GateRefused, StaleModel, Unavailable, UsageError
from crossimpact.ladder import RUNGS, Rung
from crossimpact.release import bundle, gates, ledger
from crossimpact.release.bundle import Release
from crossimpact.release.ledger import Action, Entry, Identity, LiveChampion
from pipelines import alias
from pipelines.approval import Signature
from pipelines.release import book, keep, promoted, resolve, standing, unpromoted
from pipelines.store.settings import Settings
from registry import tracking
from registry.tracking import CHALLENGER


@dataclass(frozen=True)
class Checked:
    """What the gates say of a release: one row per gate and regime."""

    release: str
    gates: tuple[gates.Row, ...]

    @property
    def refused(self) -> list[str]:
        """The failing rows as text."""
        return [str(row) for row in gates.failures(self.gates)]

    def to_dict(self) -> dict[str, Any]:
        rows = [row.to_dict() for row in self.gates]
        return {"release": self.release, "gates": rows, "refused": self.refused}


@dataclass(frozen=True)
class Promotion:
    """A change of champion, or why there was none (`changed` false); digests in `old` and `new`."""

    action: str
    changed: bool
    id: str
    version: int
    old: str | None
    new: str
    gates: tuple[gates.Row, ...] = ()
    note: str = ""
    held: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "gates": [row.to_dict() for row in self.gates]}


def promote(
    settings: Settings,
    release: str | None = None,
    *,
    override: bool = False,
    reason: str = "",
    approver: str = "",
    who: str,
    now: datetime | Callable[[], datetime],
    identity: Identity = "name",
) -> Promotion:
    """Make a release champion: gates, then the ledger, then the alias.

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
    identity
        How `who` and `approver` are known: as names, or by a server's login.

    Raises
    ------
    GateRefused
        Naming each refusing gate with its value and limit; or when an override's approver made it.
    StaleModel
        When there is no such release, it does not verify, or the ledger lost its lines.
    """
    from pipelines import evidence

    signed = Signature(who, reason, approver, identity)
    if override:
        signed.check()
    clock = now if callable(now) else lambda: now
    asked = _held(_live(settings))
    candidate, version = resolve(settings, release or CHALLENGER)
    json_log.know(release=candidate.digest)
    if override:
        signed.refuse_author(settings.mlflow_uri, version)
    again = evidence.reproduced(settings, candidate)  # takes its time
    while True:
        live = _live(settings)
        lifted = _held(live) if live and live.digest == candidate.digest else {}
        if live and (note := _no_change(live, candidate, version, lifted, asked)):
            return _unchanged(settings, live.champion, note)
        facts = evidence.gather(settings, candidate, live, again, clock())
        rows = gates.evaluate(candidate, facts)
        if gates.failures(rows) and not override:
            raise _refusal(candidate, rows)
        keep(settings, candidate)
        entry = _enter(settings, live, candidate, version, signed, rows, lifted, clock())
        if entry:
            break
    unmoved = alias.follow(settings)
    if not unmoved:
        _tell(settings, version, entry)
    notes = [f"lifts the demotion, {_told(lifted)}" if lifted else "", unmoved]
    done = _promotion(entry, rows)
    return replace(done, note="; ".join(filter(None, notes)))


def check(settings: Settings, release: str | None = None, *, now: datetime) -> Checked:
    """What the gates say of a release (the challenger when None), without promoting it."""
    from pipelines import evidence

    candidate, _ = resolve(settings, release or CHALLENGER)
    again = evidence.reproduced(settings, candidate)
    facts = evidence.gather(settings, candidate, _live(settings), again, now)
    return Checked(candidate.id, tuple(gates.evaluate(candidate, facts)))


def rollback(
    settings: Settings, *, who: str, reason: str, now: datetime, identity: Identity = "name"
) -> Promotion:
    """Make the champion before this one champion again; twice goes back two promotions.

    The ledger and the home's copy of that release are enough; MLflow's alias follows if it can.

    Raises
    ------
    StaleModel
        When the ledger knows no earlier champion, or its files do not verify.
    """
    while True:
        target = _earlier(settings, book(settings))
        promoted(settings, target.new or "")
        with ledger.locked(settings.ledger_path) as held:
            if _earlier(settings, held.entries) != target:
                continue
            entry = held.append(
                when=now,
                who=who,
                action="rollback",
                new=target.new,
                version=target.version,
                why=reason,
                identity=identity,
            )
        return replace(_promotion(entry), note=alias.follow(settings))


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
    asked = {regime: _rung(name) for regime, name in rungs.items()}
    while True:
        live = standing(settings, book(settings))
        if not live.digest.startswith(of):
            return _nothing(live.champion, f"release {of[: bundle.ID_LENGTH]} is not champion")
        known = _at_hand(settings, live)
        lower = {k: rung for k, rung in asked.items() if _is_lower(known, live, k, rung)}
        if not lower:
            return _nothing(live.champion, "held there already")
        with ledger.locked(settings.ledger_path) as held:
            if held.standing == live:
                done = held.append(when=now, who=who, action="demote", why=reason, rungs=lower)
                return _promotion(done)


def _live(settings: Settings) -> LiveChampion | None:
    """What is live; None before the first promotion.

    Raises
    ------
    StaleModel
        When the ledger knows no champion and MLflow does: its lines are gone.
    """
    live = ledger.standing(book(settings))
    if live is None and (nothing := unpromoted(settings)).lost:
        raise nothing
    return live


def _no_change(
    live: LiveChampion, candidate: Release, version: Version, lifted: Mapping[str, str],
    asked: Mapping[str, str],
) -> str:  # fmt: skip
    """Why promoting the champion again would change nothing; empty when it would."""
    if live.digest != candidate.digest:
        return ""
    if not lifted and live.version == version.version:
        return "already champion"
    if lifted and lifted != asked:
        return f"demoted meanwhile, {_told(lifted)}: promote again to lift that"
    return ""


def _enter(
    settings: Settings, live: LiveChampion | None, candidate: Release, version: Version,
    signed: Signature, rows: Sequence[gates.Row], lifted: Mapping[str, str], when: datetime,
) -> Entry | None:  # fmt: skip
    """The promotion's line; None when another change came since `live` was judged against."""
    refused = [str(row) for row in gates.failures(rows)]
    note = f"lifts the demotion, {_told(lifted)}" if lifted else ""
    with ledger.locked(settings.ledger_path) as held:
        if held.standing != live:
            return None
        return held.append(
            when=when,
            who=signed.who,
            action=_action(refused),
            new=candidate.digest,
            version=version.version,
            why=signed.reason or note,
            approver=signed.approver,
            refused=refused,
            identity=signed.identity,
        )


def _earlier(settings: Settings, lines: Sequence[Entry]) -> Entry:
    target = ledger.previous(lines)
    if target is None:
        standing(settings, lines)  # nothing was promoted, or it is gone
        raise StaleModel(
            f"ledger {settings.ledger_path} knows no earlier champion to go back to",
            "promote another release",
        )
    return target


def _refusal(candidate: Release, rows: Sequence[gates.Row]) -> GateRefused:
    refused = [str(row) for row in gates.failures(rows)]
    return GateRefused(
        f"release {candidate.id} is refused by {len(refused)} gate(s): {'; '.join(refused)}",
        "refit, or override with --reason and the --approver's name",
        {"release": candidate.id, "gates": [row.to_dict() for row in rows]},
    )


def _tell(settings: Settings, version: Version, entry: Entry) -> None:
    """MLflow's tag of what the gates said; the promotion stands whether or not it hears of it."""
    message = f"refused: {'; '.join(entry.refused)}" if entry.refused else "pass"
    with suppress(Unavailable, OSError):
        by = f"{entry.action} by {entry.who} on {entry.when[:10]}"
        tracking.note(settings.mlflow_uri, version, {"gates": message, "promoted": by})


def _at_hand(settings: Settings, live: LiveChampion) -> Release | None:
    """The champion, None when nobody can give it: a demotion does not depend on that."""
    try:
        return replace(promoted(settings, live.digest), held=live.held)
    except (Unavailable, StaleModel, OSError):
        return None


def _rung(name: str) -> Rung:
    for rung in RUNGS:
        if rung == name:
            return rung
    raise UsageError(f"rung {name!r} is none of {', '.join(RUNGS)}")


def _is_lower(release: Release | None, live: LiveChampion, regime: str, rung: Rung) -> bool:
    if release is None:
        present = live.held[regime].rung if regime in live.held else RUNGS[0]
    elif regime in release.models:
        present = release.model_for(regime).rung
    else:
        known = ", ".join(sorted(release.models))
        raise UsageError(f"release {release.id} has no model of regime {regime!r}", f"has {known}")
    return RUNGS.index(rung) > RUNGS.index(present)


def _unchanged(settings: Settings, entry: Entry, note: str) -> Promotion:
    """Nothing to change; an alias that points elsewhere is put back."""
    pointed = alias.pointed(settings)
    if pointed != entry.version:
        unmoved = alias.follow(settings)
        note += f"; the alias pointed at version {pointed} and was put back" if not unmoved else ""
        note += f"; {unmoved}" if unmoved else ""
    return _nothing(entry, note)


def _nothing(entry: Entry, note: str) -> Promotion:
    return replace(_promotion(entry), action="none", changed=False, old=entry.new, note=note)


def _action(refused: Sequence[str]) -> Action:
    return "override" if refused else "promote"


def _held(live: LiveChampion | None) -> dict[str, str]:
    """The rungs that regimes are held to."""
    return {regime: hold.rung for regime, hold in live.held.items()} if live else {}


def _told(held: Mapping[str, str]) -> str:
    return ", ".join(f"{regime} to {rung}" for regime, rung in held.items())


def _promotion(entry: Entry, rows: Sequence[gates.Row] = ()) -> Promotion:
    digest = entry.new or ""
    return Promotion(
        entry.action, True, digest[: bundle.ID_LENGTH], entry.version or 0, entry.old, digest,
        tuple(rows), held=dict(entry.rungs),
    )  # fmt: skip
