"""Who prices a date: at each moment the release that was live then, whatever is live by now.

The ledger knows. A date re-run after a demotion or a promotion is priced as it was, to the byte.
What was executed before the first promotion is priced by the first release there was, and says so.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from crossimpact.consumer.state import expired
from crossimpact.model import ImpactModel, canonical_json
from crossimpact.release import ledger
from crossimpact.release.bundle import Release
from crossimpact.release.entry import Entry
from pipelines import release as releases
from pipelines.store.settings import Settings
from pipelines.store.warehouse import text_sha256

DAY = timedelta(days=1)
LIVE = "live"
#: What changes who answers.
CHANGES = (*ledger.CHANGES, "demote")


@dataclass(frozen=True)
class Span:
    """A release that prices what is executed from a moment on, until the next one does.

    Attributes
    ----------
    since
        UTC.
    release
        With what it was held to by demotions then.
    facts
        What the ledger says of its promotion.
    status
        `LIVE`, or why it prices though it was not.
    """

    since: datetime
    release: Release
    facts: Mapping[str, object] = field(default_factory=dict)
    status: str = LIVE

    @property
    def digest(self) -> str:
        """Of all that the span says of a price."""
        held = {regime: asdict(hold) for regime, hold in self.release.held.items()}
        told = {"held": held, "facts": dict(self.facts), "status": self.status}
        plain = canonical_json(told).decode()
        return text_sha256(self.since.isoformat(), self.release.digest, plain)


@dataclass(frozen=True)
class Pricing:
    """Releases over a date, one after the other; `main`, the last of them, heads its page."""

    date: str
    spans: tuple[Span, ...]
    told: tuple[str, ...] = ()

    @classmethod
    def by(cls, release: Release, date: str, facts: Mapping[str, object] | None = None) -> Pricing:
        """All of the date by one release."""
        return cls(date, (Span(_midnight(date) - DAY, release, facts or {}),))

    @property
    def main(self) -> Span:
        return self.spans[-1]

    @property
    def digest(self) -> str:
        return text_sha256(*(span.digest for span in self.spans), *self.told)

    @property
    def in_sample(self) -> bool:
        """Whether a release was fitted on a window with this date: no evidence for it."""
        return any(map(self._in_window, self.spans))

    def _in_window(self, span: Span) -> bool:
        return span.release.window.first <= self.date <= span.release.window.last

    def within(self, first: datetime, last: datetime) -> Pricing:
        """Only what prices a moment between these: what became live later changes no price."""
        places = self.at((first, last))
        return replace(self, spans=self.spans[places[0] : places[1] + 1])

    def noting(self, told: Iterable[str]) -> Pricing:
        """The same with more to know of the date."""
        return replace(self, told=(*self.told, *told))

    def notes(self) -> Iterator[str]:
        """What a reader has to know of the releases."""
        yield from self.told
        yield from dict.fromkeys(span.status for span in self.spans if span.status != LIVE)
        if self.in_sample:
            yield f"in sample: {self.main.release.id} was fitted on a window with this date"

    def at(self, moments: Sequence[datetime]) -> list[int]:
        """Place of the span that prices each moment."""
        starts = [span.since for span in self.spans]
        return [max(bisect_right(starts, moment) - 1, 0) for moment in moments]

    def answers(
        self, regimes: Sequence[str], moments: Sequence[datetime]
    ) -> tuple[tuple[str, ...], dict[str, ImpactModel], dict[str, str]]:
        """Per bucket the key of its model; the models by key; by key what its rows are labelled.

        The key is the regime, and where several releases price the date the release besides.
        """
        places = self.at(moments)
        keys = {
            (k, regime): self._key(k, regime) for k, regime in zip(places, regimes, strict=True)
        }
        models, labels = {}, {}
        for (place, regime), key in sorted(keys.items()):
            model, rung, reason, _ = self.spans[place].release.model_for(regime)
            labels[key] = f"{rung}/{regime}" + (f" ({reason})" if rung != "full" and reason else "")
            if model is not None:
                models[key] = model
        return tuple(keys[pair] for pair in zip(places, regimes, strict=True)), models, labels

    def _key(self, place: int, regime: str) -> str:
        return regime if len(self.spans) == 1 else f"{regime} by {place}"

    def relation(self) -> pa.Table:
        """The spans as rows: since when, which release, whether in sample, its status."""
        rows = [
            {
                "since": span.since,
                "release_id": span.release.id,
                "in_sample": self._in_window(span),
                "release_status": span.status,
            }
            for span in self.spans
        ]
        return pa.Table.from_pylist(rows, RELATION)


RELATION = pa.schema(
    [
        ("since", pa.timestamp("us", "UTC")),
        ("release_id", pa.string()),
        ("in_sample", pa.bool_()),
        ("release_status", pa.string()),
    ]
)


def as_of(settings: Settings, date: str) -> Pricing:
    """The releases that were live over a date, as the ledger has them.

    Raises
    ------
    StaleModel
        When none ever was, or the files of one do not verify.
    """
    lines = releases.book(settings)
    start, end = _midnight(date) - DAY, _midnight(date) + 2 * DAY  # wherever the exchange is
    inside = {e.moment for e in lines if e.action in CHANGES and start < e.moment < end}
    found = [_span(settings, lines, date, moment) for moment in (start, *sorted(inside))]
    told: list[Span] = []
    for span in found:
        if not told or replace(span, since=told[-1].since).digest != told[-1].digest:
            told.append(span)
    return Pricing(date, tuple(told))


def _span(settings: Settings, lines: Sequence[Entry], date: str, moment: datetime) -> Span:
    live, status = ledger.standing(lines, moment), LIVE
    if live is None:
        first = next((e for e in lines if e.action in ledger.CHANGES), None)
        live = releases.standing(settings, lines, first.moment if first else None)
        status = f"priced late: no release was live, the first one since {live.champion.when[:19]}"
    priced = replace(releases.promoted(settings, live.digest), held=live.held)
    age = expired(priced, _midnight(date), settings.policy.release.valid_for)
    facts = releases.facts(priced, live).to_dict()
    return Span(moment, priced, {**facts, "note": age if date > priced.as_of else ""}, status)


def _midnight(date: str) -> datetime:
    return datetime.fromisoformat(date).replace(tzinfo=UTC)
