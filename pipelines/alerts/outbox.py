"""Messages wait on disk until every channel has them; approvals until somebody answered.

What is critical leaves at once. The rest waits for the end of quiet hours, and for `group_min`
minutes after its first, so that one trouble is one message. A channel that fails gets it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from crossimpact.atomic import create, write_atomic
from crossimpact.errors import Unavailable
from crossimpact.progress import tell
from crossimpact.release.hash_chain import hold
from pipelines.alerts import channels
from pipelines.alerts.config import Alerts, Channel, load
from pipelines.alerts.message import Message, grouped
from pipelines.store.settings import Settings


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An approval that is wanted: what of, on which evidence, and how often it was asked for."""

    key: str
    title: str
    text: str
    evidence: str
    asked: datetime
    reminded: bool = False
    deputised: bool = False


@dataclass(frozen=True)
class Sent:
    """What a look at the outbox did."""

    sent: int
    waiting: int
    failed: tuple[str, ...]


def add(settings: Settings, message: Message) -> None:
    """Put a message into the outbox; telling the same twice tells it once."""
    with suppress(FileExistsError):
        create(_waiting(settings) / f"{message.key}.json", msgspec.json.encode(message))


def want(settings: Settings, wanted: Wanted) -> None:
    """Ask for an approval: now, again, and of the deputy, until `answered`."""
    path = _approvals(settings) / f"{wanted.key}.json"
    if not path.exists():
        write_atomic(path, msgspec.json.encode(wanted))
    approval = load(settings.home).approval
    if approval:
        add(settings, _asking(wanted, "", approval.people, wanted.asked))


def answered(settings: Settings, key: str) -> None:
    """Nobody is asked for it any longer."""
    (_approvals(settings) / f"{key}.json").unlink(missing_ok=True)


def send(settings: Settings, now: datetime) -> Sent:
    """Remind of approvals, then send what may leave now."""
    config = load(settings.home)
    with hold(settings.home / "alerts" / "send.lock"):
        _remind(settings, config, now)
        failed: list[str] = []
        count = 0
        for channel in config.channel:
            for kind, messages in _by_kind(settings, channel):
                due = [m for m in messages if _due(config, messages, m, now)]
                if not due:
                    continue
                try:
                    channels.send(channel, grouped(due))
                    count += 1
                    _mark(settings, due, channel.name)
                except Unavailable as error:
                    failed.append(f"{kind}: {error.what}")
                    tell("alerts", error.what)
        _drop(settings, config)
        return Sent(count, len(_read(settings)), tuple(failed))


def _due(config: Alerts, messages: list[Message], message: Message, now: datetime) -> bool:
    if message.severity == "critical":
        return True
    if config.quiet and config.quiet.holds(now):
        return False
    return now - messages[0].at >= timedelta(minutes=config.group_min) or bool(message.to)


def _remind(settings: Settings, config: Alerts, now: datetime) -> None:
    """The reminder to who was asked, then the deputy."""
    approval = config.approval
    if approval is None:
        return
    for path in sorted(_approvals(settings).glob("*.json")):
        wanted = msgspec.json.decode(path.read_bytes(), type=Wanted)
        waited = (now - wanted.asked).total_seconds() / 3600
        after = wanted
        if waited >= approval.remind_after_h and not wanted.reminded:
            add(settings, _asking(wanted, "Reminder: ", approval.people, now))
            after = msgspec.structs.replace(after, reminded=True)
        if waited >= approval.deputy_after_h and not wanted.deputised:
            add(settings, _asking(wanted, "For the deputy: ", approval.deputy, now))
            after = msgspec.structs.replace(after, deputised=True)
        if after != wanted:
            write_atomic(path, msgspec.json.encode(after))


def _asking(wanted: Wanted, prefix: str, to: str, at: datetime) -> Message:
    return Message("approval", "warning", f"{prefix}{wanted.title}", wanted.text, wanted.evidence,
                   at, to=(to,))  # fmt: skip


def _by_kind(settings: Settings, channel: Channel) -> Iterator[tuple[str, list[Message]]]:
    """What a channel has not had yet, oldest first."""
    kept: dict[str, list[Message]] = {}
    for message in _read(settings):
        heard = channel.name in message.to if message.to else channel.hears(message.kind)
        if heard and channel.name not in message.done:
            kept.setdefault(message.kind, []).append(message)
    yield from kept.items()


def _read(settings: Settings) -> list[Message]:
    found = [
        msgspec.json.decode(path.read_bytes(), type=Message)
        for path in _waiting(settings).glob("*.json")
    ]
    return sorted(found, key=lambda message: (message.at, message.key))


def _mark(settings: Settings, messages: list[Message], channel: str) -> None:
    for message in messages:
        after = msgspec.structs.replace(message, done=(*message.done, channel))
        write_atomic(_waiting(settings) / f"{message.key}.json", msgspec.json.encode(after))


def _drop(settings: Settings, config: Alerts) -> None:
    """What every channel that hears it has had."""
    for message in _read(settings):
        wanted = message.to or [c.name for c in config.channel if c.hears(message.kind)]
        if wanted and {*wanted} <= {*message.done}:
            (_waiting(settings) / f"{message.key}.json").unlink(missing_ok=True)


def _waiting(settings: Settings) -> Path:
    return settings.home / "alerts" / "waiting"


def _approvals(settings: Settings) -> Path:
    return settings.home / "alerts" / "approvals"
