"""Which release answers, now and at any moment: what the ledger says, verified.

The ledger decides who is champion; MLflow's alias `champion` is the pointer others poll. Where they
disagree the ledger's champion answers and `show` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from crossimpact.errors import StaleModel
from pipelines.config import Settings
from registry import bundle, ledger, tracking
from registry.bundle import Release
from registry.ledger import Entry, Standing
from registry.tracking import CHAMPION, Version


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
    held: dict[str, Any]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def resolve(settings: Settings, which: str) -> tuple[Release, Version]:
    """The verified release of an alias or id."""
    into = settings.home / "tmp"
    return tracking.resolve(settings.mlflow_uri, which, into, settings.ledger_path)


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


def ledger_lines(settings: Settings) -> dict[str, Any]:
    """The ledger as a table, oldest first."""
    return {
        "ledger": [
            {
                "when": entry.when,
                "action": entry.action,
                "who": entry.who,
                "release": (entry.new or "-")[: bundle.ID_LENGTH],
                "rungs": ", ".join(f"{k} to {v}" for k, v in entry.rungs.items()),
                "why": entry.why,
                "approver": entry.approver,
            }
            for entry in ledger.entries(settings.ledger_path)
        ]
    }


def standing(settings: Settings, book: Sequence[Entry], as_of: datetime | None = None) -> Standing:
    """What is live, now or at a moment.

    Raises
    ------
    StaleModel
        When nothing is promoted, or was not yet.
    """
    live = ledger.standing(book, as_of)
    if live:
        return live
    first = ledger.standing(book)
    if first is None:
        raise StaleModel(f"no release is promoted in {settings.home}", "run `crossimpact promote`")
    moment = ledger.utc(as_of).isoformat() if as_of else "now"
    earliest = next(entry.when for entry in book if entry.action in ledger.CHANGES)
    raise StaleModel(
        f"no release was champion at {moment}", f"the first promotion was at {earliest}"
    )


def _champion(settings: Settings, as_of: datetime | None) -> tuple[Release, dict[str, Any]]:
    live = standing(settings, ledger.entries(settings.ledger_path), as_of)
    release, version = resolve(settings, live.digest)
    facts = {
        "id": release.id,
        "digest": release.digest,
        "version": version.version,
        "as_of": release.as_of,
        "window": dict(release.window),
        "promoted": {
            name: getattr(live.champion, name)
            for name in ("when", "who", "action", "why", "approver")
        },
        "held": {regime: dict(hold) for regime, hold in live.held.items()},
        "note": "" if as_of else _alias_note(settings, live.champion),
    }
    return replace(release, held=live.held), facts


def _alias_note(settings: Settings, entry: Entry) -> str:
    pointed = tracking.alias_version(settings.mlflow_uri, CHAMPION)
    if pointed == entry.version:
        return ""
    return (
        f"alias {CHAMPION} points at version {pointed}, the ledger says {entry.version}: "
        f"a promotion was cut short or the alias was moved by hand; the ledger's champion answers, "
        f"`crossimpact promote --release {(entry.new or '')[: bundle.ID_LENGTH]}` puts it back"
    )


def _regime(release: Release, regime: str) -> dict[str, Any]:
    model, rung, reason, max_pov = release.model_for(regime)
    metrics = release.report.get("metrics", {}).get(regime, {})
    facts = {
        "regime": regime,
        "rung": rung,
        "reason": reason,
        "max_pov": max_pov,
        "flow": model.transform if model else None,
        "buckets": metrics.get("buckets"),
        "edges": model.edges if model else None,
        "condition_number": model.condition_number if model else None,
    }
    plain: dict[str, Any] = bundle.plain(facts)
    return plain
