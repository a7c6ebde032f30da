"""Which release answers, now and at any moment: what the ledger says, verified.

The ledger decides who is champion; MLflow's alias `champion` is the pointer others poll. Where they
disagree the ledger's champion answers and `show` says so. Every release promoted from a home stays
in it as a verified copy under `releases/<digest>`, which is read first: what was promoted is known
whether or not MLflow answers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from crossimpact import json_log
from crossimpact.atomic import replace_folder
from crossimpact.consumer import address, source
from crossimpact.consumer.address import MODEL
from crossimpact.consumer.client import NothingPromoted, nothing_promoted
from crossimpact.consumer.deadline import Worker
from crossimpact.consumer.source import Source
from crossimpact.consumer.state import expired
from crossimpact.consumer.version import Version
from crossimpact.errors import CrossImpactError, StaleModel
from crossimpact.ladder import Rung
from crossimpact.release import bundle, ledger, release_files
from crossimpact.release.bundle import MANIFEST, Release
from crossimpact.release.content import Hold, Window
from crossimpact.release.ledger import Entry, LiveChampion
from pipelines.pages.card_over_time import in_words
from pipelines.store.settings import Settings
from registry import tracking
from registry.tracking import CHAMPION

#: How long a ledger on a disk that hangs is waited for, seconds.
DISK_S = 10.0
#: How long a request, and all that is asked of MLflow besides what a command is about, may take.
REQUEST_S, ASIDE_S = 1.6, 5.0


@dataclass(frozen=True)
class Champion:
    """Which release is champion, and how it became so."""

    id: str
    digest: str
    version: int
    as_of: str
    window: Window
    promoted: Mapping[str, str | None]
    held: Mapping[str, Hold]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class RegimeAnswer:
    """Who answers for a regime, how fast it may trade, and the model's size; None without one. How
    long its impact lives, in words; empty without a model."""

    regime: str
    rung: Rung
    reason: str
    max_pov: float
    flow: str | None
    buckets: float | str | None
    edges: int | None
    condition_number: float | str | None
    decay: str = ""


@dataclass(frozen=True)
class Shown:
    """A champion: what it is, per regime who answers, and its promotion."""

    id: str
    digest: str
    version: int
    as_of: str
    window: Window
    flow: str
    bucket_s: int
    contract_version: str
    code_version: str
    data_digest: str
    regimes: tuple[RegimeAnswer, ...]
    promoted: Mapping[str, str | None]
    held: Mapping[str, Hold]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "regimes": [asdict(row) for row in self.regimes]}


def resolve(settings: Settings, which: str) -> tuple[Release, Version]:
    """The verified release of an alias or id, from the registry."""
    return tracking.resolve(settings.mlflow_uri, which, book(settings))


def book(settings: Settings) -> list[Entry]:
    """The ledger's entries; `Unavailable` when its disk hangs."""
    path = settings.ledger_path
    until = time.monotonic() + DISK_S
    return Worker(f"ledger {path}").run(partial(ledger.entries, path), until)


def promoted(settings: Settings, digest: str) -> Release:
    """A release that was promoted: this home's copy, else the registry's, of which one is kept.

    Raises
    ------
    StaleModel, Unavailable
        When neither can be had, or none verifies.
    """
    with suppress(StaleModel):
        return release_files.read(settings.releases / digest, digest)
    release, _ = resolve(settings, digest)
    with suppress(OSError):  # a home that may only be read
        keep(settings, release)
    return release


def keep(settings: Settings, release: Release) -> None:
    """Leave a copy of the release in the home, or mend the one that is there."""
    folder = settings.releases / release.digest
    with suppress(StaleModel):
        release_files.read(folder, release.digest)
        return
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_folder(folder, release.files | {MANIFEST: release.manifest})


def champion(settings: Settings) -> tuple[Release, Champion]:
    """The verified champion and its facts, the same as `show` gives; the registry is not asked when
    the home has its copy.

    Raises
    ------
    StaleModel
        When none is promoted, the ledger is broken, or the files do not verify.
    """
    release, live = _champion(settings, None)
    json_log.know(release=release.digest)
    return release, facts(release, live)


def show(settings: Settings, as_of: datetime | None = None, now: datetime | None = None) -> Shown:
    """The champion, now or at a moment (UTC); `now` tells whether it has expired."""
    release, live = _champion(settings, as_of)
    notes = [] if as_of else [note for note in _notes(settings, release, live, now) if note]
    return Shown(
        **vars(facts(release, live)),
        note="; ".join(notes),
        flow=release.flow,
        bucket_s=release.bucket_s,
        contract_version=release.contract_version,
        code_version=release.code_version,
        data_digest=release.data_digest,
        regimes=tuple(_regime(release, regime) for regime in sorted(release.fallback)),
    )


def ledger_verify(settings: Settings) -> ledger.Verdict:
    """Whether the ledger is whole; names the first bad line when not.

    A ledger that knows no champion though MLflow has one lost its lines, head and all.
    """
    path = settings.ledger_path
    until = time.monotonic() + DISK_S
    verdict = Worker(f"ledger {path}").run(partial(ledger.verify, path), until)
    if verdict.usable and ledger.standing(book(settings)) is None:
        gone = unpromoted(settings)
        if gone.lost:
            return ledger.Verdict(0, 1, gone.what)
    return verdict


def ledger_lines(settings: Settings) -> dict[str, Any]:
    """The ledger as a table, oldest first; an approver is a mere `(name)`, or a `(login)`.

    `identity` says `login` where `who` is one, too.
    """
    return {
        "ledger": [
            {
                "when": entry.when,
                "action": entry.action,
                "who": entry.who,
                "release": (entry.new or "-")[: bundle.ID_LENGTH],
                "rungs": ", ".join(f"{k} to {v}" for k, v in entry.rungs.items()),
                "why": entry.why,
                "approver": f"{entry.approver} ({entry.identity})" if entry.approver else "",
                "identity": entry.identity if entry.identity == "login" else "",
            }
            for entry in book(settings)
        ]
    }


def standing(
    settings: Settings, lines: Sequence[Entry], as_of: datetime | None = None
) -> LiveChampion:
    """What is live, now or at a moment.

    Raises
    ------
    StaleModel
        When nothing is promoted, or was not yet.
    """
    live = ledger.standing(lines, as_of)
    if live:
        return live
    first = ledger.standing(lines)
    if first is None:
        raise unpromoted(settings)
    moment = ledger.utc(as_of).isoformat() if as_of else "now"
    earliest = next(entry.when for entry in lines if entry.action in ledger.CHANGES)
    raise StaleModel(
        f"no release was champion at {moment}", f"the first promotion was at {earliest}"
    )


def unpromoted(settings: Settings) -> NothingPromoted:
    """What to say when the ledger knows no champion: there was none, or MLflow knows better."""
    if address.absent(settings.mlflow_uri):
        return NothingPromoted(settings.ledger_path, None, "")
    ask = partial(nothing_promoted, settings.ledger_path)
    try:
        return source.ask(settings.mlflow_uri, ask, REQUEST_S, ASIDE_S)
    except CrossImpactError as error:
        return NothingPromoted(settings.ledger_path, None, f"{error.what}")


def _champion(settings: Settings, as_of: datetime | None) -> tuple[Release, LiveChampion]:
    live = standing(settings, book(settings), as_of)
    return replace(promoted(settings, live.digest), held=live.held), live


def facts(release: Release, live: LiveChampion) -> Champion:
    """What the ledger says of a live release."""
    return Champion(
        id=release.id,
        digest=release.digest,
        version=live.version,
        as_of=release.as_of,
        window=release.window,
        promoted={
            name: getattr(live.champion, name)
            for name in ("when", "who", "action", "why", "approver")
        },
        held=live.held,
    )


def _notes(
    settings: Settings, release: Release, live: LiveChampion, now: datetime | None
) -> Iterator[str]:
    """What a reader should know besides: too old, or MLflow says something else."""
    if now:
        yield expired(release, ledger.utc(now), settings.policy.release.valid_for)
    try:
        compare = partial(_compared, live=live)
        yield from source.ask(settings.mlflow_uri, compare, REQUEST_S, ASIDE_S)
    except CrossImpactError as error:
        yield f"MLflow was not compared with: {error.what}"


def _compared(registry: Source, live: LiveChampion) -> list[str]:
    """Where the registry differs from the ledger's champion."""
    notes = [_alias_note(registry.alias(CHAMPION), live.champion)]
    try:
        where = f"version {live.version} of {MODEL}"
        release_files.verified(registry.files(live.version), live.digest, where)
    except StaleModel as error:
        notes.append(f"in MLflow the champion is damaged, this home's copy answers: {error.what}")
    return notes


def _alias_note(pointed: int | None, entry: Entry) -> str:
    if pointed == entry.version:
        return ""
    return (
        f"alias {CHAMPION} points at version {pointed}, the ledger says {entry.version}: "
        f"a promotion was cut short or the alias was moved by hand; the ledger's champion answers, "
        f"`crossimpact promote --release {(entry.new or '')[: bundle.ID_LENGTH]}` puts it back"
    )


def _regime(release: Release, regime: str) -> RegimeAnswer:
    model, rung, reason, max_pov = release.model_for(regime)
    metrics = release.report.get("metrics", {}).get(regime, {})
    return RegimeAnswer(
        regime=regime,
        rung=rung,
        reason=reason,
        max_pov=max_pov,
        flow=model.transform if model else None,
        buckets=metrics.get("buckets"),
        edges=model.edges if model else None,
        condition_number=bundle.plain(model.condition_number) if model else None,
        decay=in_words(release, regime),
    )
