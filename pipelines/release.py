"""The life of a release: promote, roll back, show.

The ledger decides who is champion; MLflow's alias `champion` is the pointer others poll, moved just
before the ledger's line is written and both under the ledger's lock. A kill in between leaves the
old champion in force here, and promoting again completes the change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from crossimpact.errors import GateRefused, StaleModel, UsageError
from pipelines.config import Settings
from registry import bundle, gates, ledger, tracking
from registry.bundle import Release
from registry.ledger import Entry
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

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Shown:
    """A champion: what it is, per regime who answers, and its promotion."""

    id: str
    digest: str
    version: int
    as_of: str
    window: dict[str, Any]
    flow: str
    bucket_s: int
    contract_version: str
    code_version: str
    data_digest: str
    regimes: list[dict[str, Any]]
    promoted: dict[str, Any]
    note: str = ""

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
    now: datetime,
) -> Promotion:
    """Make a release champion: gates, then the alias, then the ledger.

    Parameters
    ----------
    release
        Alias or release id; the challenger when None.
    override
        Promote in spite of refusing gates; asks for `reason` and an `approver` other than `who`.
    now
        When, UTC.

    Raises
    ------
    GateRefused
        Naming each refusing gate with its value and limit.
    StaleModel
        When there is no such release, or it does not verify.
    """
    if override:
        _check_approval(reason, approver, who)
    with ledger.locked(settings.ledger_path) as book:
        book.stamp(now)
        candidate, version = resolve(settings, release or CHALLENGER)
        if book.last and book.last.new == candidate.digest:
            return _unchanged(settings, book.last)
        rows = gates.evaluate(candidate)
        refused = [str(row) for row in gates.failures(rows)]
        if refused and not override:
            raise _refusal(candidate, refused)
        tracking.move_alias(settings.mlflow_uri, CHAMPION, version.version)
        entry = book.append(
            when=now,
            who=who,
            action="override" if refused else "promote",
            new=candidate.digest,
            version=version.version,
            why=reason,
            approver=approver,
            refused=refused,
        )
    return _promotion(entry, [row.to_dict() for row in rows])


def rollback(settings: Settings, *, who: str, reason: str, now: datetime) -> Promotion:
    """Make the champion before this one champion again; twice goes back two promotions.

    Raises
    ------
    StaleModel
        When the ledger knows no earlier champion, or its files do not verify.
    """
    with ledger.locked(settings.ledger_path) as book:
        book.stamp(now)
        target = ledger.previous(book.entries)
        if target is None:
            raise StaleModel(
                f"ledger {settings.ledger_path} knows no earlier champion to go back to",
                "promote another release",
            )
        _, version = resolve(settings, target.new)
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


def champion(settings: Settings) -> tuple[Release, dict[str, Any]]:
    """The verified champion and its facts, the same as `show` gives.

    Raises
    ------
    StaleModel
        When none is promoted, the ledger is broken, or the files do not verify.
    """
    return _champion(settings, None)


def show(settings: Settings, as_of: datetime | None = None) -> Shown:
    """The champion, now or at a moment (UTC)."""
    release, facts = _champion(settings, as_of)
    return Shown(
        **facts,
        flow=release.flow,
        bucket_s=release.bucket_s,
        contract_version=release.contract_version,
        code_version=release.code_version,
        data_digest=release.data_digest,
        regimes=[_regime(release, regime) for regime in sorted(release.fallback)],
    )


def ledger_verify(settings: Settings) -> ledger.Verdict:
    """Whether the ledger's chain is whole; names the first bad line when not."""
    return ledger.verify(settings.ledger_path)


# -- promotion -------------------------------------------------------------------------------------


def _check_approval(reason: str, approver: str, who: str) -> None:
    if not reason.strip() or not approver.strip():
        raise UsageError(
            "an override needs a reason and an approver", "add --reason R --approver A"
        )
    if approver.strip().casefold() == who.strip().casefold():
        raise GateRefused(
            f"{who} cannot approve their own override", "ask a second person to approve"
        )


def _refusal(candidate: Release, refused: Sequence[str]) -> GateRefused:
    return GateRefused(
        f"release {candidate.id} is refused by {len(refused)} gate(s): {'; '.join(refused)}",
        "refit, or override with --reason and the --approver's name",
    )


def _unchanged(settings: Settings, entry: Entry) -> Promotion:
    """Already champion; an alias that points elsewhere is put back."""
    note = "already champion"
    pointed = tracking.alias_version(settings.mlflow_uri, CHAMPION)
    if pointed != entry.version:
        tracking.move_alias(settings.mlflow_uri, CHAMPION, entry.version)
        note += f"; the alias pointed at version {pointed} and was put back"
    id = entry.new[: bundle.ID_LENGTH]
    return Promotion("none", False, id, entry.version, entry.new, entry.new, note=note)


def _promotion(entry: Entry, rows: list[dict[str, Any]] | None = None) -> Promotion:
    id = entry.new[: bundle.ID_LENGTH]
    return Promotion(entry.action, True, id, entry.version, entry.old, entry.new, rows or [])


# -- reading ---------------------------------------------------------------------------------------


def resolve(settings: Settings, which: str) -> tuple[Release, Version]:
    """The verified release of an alias or id."""
    into = settings.home / "tmp"
    return tracking.resolve(settings.mlflow_uri, which, into, settings.ledger_path)


def _champion(settings: Settings, as_of: datetime | None) -> tuple[Release, dict[str, Any]]:
    entry = _in_force(settings, as_of)
    release, version = resolve(settings, entry.new)
    facts = {
        "id": release.id,
        "digest": release.digest,
        "version": version.version,
        "as_of": release.as_of,
        "window": dict(release.window),
        "promoted": {
            name: getattr(entry, name) for name in ("when", "who", "action", "why", "approver")
        },
        "note": "" if as_of else _alias_note(settings, entry),
    }
    return release, facts


def _in_force(settings: Settings, as_of: datetime | None) -> Entry:
    entries = ledger.entries(settings.ledger_path)
    if not entries:
        raise StaleModel(f"no release is promoted in {settings.home}", "run `crossimpact promote`")
    if as_of is None:
        return entries[-1]
    entry = ledger.as_of(settings.ledger_path, as_of)
    if entry is None:
        raise StaleModel(
            f"no release was champion at {ledger.utc(as_of).isoformat()}",
            f"the first promotion was at {entries[0].when}",
        )
    return entry


def _alias_note(settings: Settings, entry: Entry) -> str:
    pointed = tracking.alias_version(settings.mlflow_uri, CHAMPION)
    if pointed == entry.version:
        return ""
    return (
        f"alias {CHAMPION} points at version {pointed}, the ledger says {entry.version}: "
        f"a promotion was cut short or the alias was moved by hand; the ledger's champion answers, "
        f"`crossimpact promote --release {entry.new[: bundle.ID_LENGTH]}` puts the alias back"
    )


def _regime(release: Release, regime: str) -> dict[str, Any]:
    model, rung, reason = release.model_for(regime)
    metrics = release.report.get("metrics", {}).get(regime, {})
    facts = {
        "regime": regime,
        "rung": rung,
        "reason": reason,
        "max_pov": release.fallback[regime]["max_pov"],
        "buckets": metrics.get("buckets"),
        "edges": model.edges if model else None,
        "condition_number": model.condition_number if model else None,
    }
    plain: dict[str, Any] = bundle.plain(facts)
    return plain
