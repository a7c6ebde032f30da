"""One message to people, as it waits on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime

import msgspec

from pipelines.alerts.config import Kind, Severity
from pipelines.alerts.redaction import redacted


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happened, for whom it is urgent, and where its evidence lies.

    `to` names channels that hear it whatever kinds they hear otherwise; `done` those that have it.
    """

    kind: Kind
    severity: Severity
    title: str
    text: str
    evidence: str
    at: datetime
    to: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    count: int = 1

    @property
    def key(self) -> str:
        """The same event is one message, however often it is told."""
        told = f"{self.kind}\0{self.title}\0{self.text}\0{self.at.isoformat()}\0{self.to}"
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    @property
    def fields(self) -> Mapping[str, str]:
        """For a template."""
        return {
            "severity": self.severity, "kind": self.kind, "title": redacted(self.title),
            "text": redacted(self.text), "evidence": redacted(self.evidence),
            "at": self.at.isoformat(), "count": str(self.count),
        }  # fmt: skip


def grouped(messages: list[Message]) -> Message:
    """Several messages of a kind as one: the last title, every text, the worst severity."""
    if len(messages) == 1:
        return messages[0]
    worst = max(messages, key=lambda m: ("info", "warning", "critical").index(m.severity))
    last = messages[-1]
    return msgspec.structs.replace(
        last,
        severity=worst.severity,
        title=f"{len(messages)} alerts of kind {last.kind}, the last: {last.title}",
        text="\n".join(f"{m.at.isoformat()} {m.title}: {m.text}" for m in messages),
        evidence="\n".join(filter(None, dict.fromkeys(m.evidence for m in messages))),
        count=len(messages),
    )
