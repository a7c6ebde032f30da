"""Who is told what, and when: `alerts.toml` of a home.

    [[channel]]
    name = "desk"
    kind = "webhook"              # POST of the message as JSON; or "command": on its standard input
    url_file = "/run/secrets/desk_webhook"
    kinds = ["stage", "gate"]     # of messages; without it all

    [quiet]                       # UTC; what is critical is told all the same
    begin = "21:00"
    end = "06:00"

    [approval]
    people = "desk"
    deputy = "risk"
    remind_after_h = 4
    deputy_after_h = 24

No secret stands in it: an address that is one lies in a file of its own.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from string import Template
from typing import Literal

from crossimpact.errors import UsageError
from pipelines.store.checked import checked

FILE = "alerts.toml"
#: What messages speak of: stages of a rollout, demotions, stale models, refusing gates, approvals
#: that are wanted, failed tasks.
Kind = Literal["stage", "demotion", "stale", "gate", "approval", "failure"]
Severity = Literal["info", "warning", "critical"]
TEMPLATE = "[$severity] $title\n$text\n$evidence"
FIELDS = dict.fromkeys(("severity", "kind", "title", "text", "evidence", "at", "count"), "")


@dataclass(frozen=True)
class Channel:
    """Where messages go: a webhook, or a command's standard input."""

    name: str
    kind: Literal["webhook", "command"]
    url_file: str = ""
    command: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    template: str = TEMPLATE

    def __post_init__(self) -> None:
        if bool(self.url_file) == bool(self.command) or (self.kind == "command") != bool(
            self.command
        ):
            raise ValueError(f"channel {self.name}: a webhook has a url_file, a command its words")
        try:
            Template(self.template).substitute(FIELDS)
        except (KeyError, ValueError) as error:
            raise ValueError(f"channel {self.name}: template knows no {error}") from error

    def hears(self, kind: Kind) -> bool:
        """Whether messages of the kind go here."""
        return not self.kinds or kind in self.kinds


@dataclass(frozen=True)
class Quiet:
    """Hours, UTC, in which only what is critical is told; may lie over midnight."""

    begin: time
    end: time

    def holds(self, at: datetime) -> bool:
        """Whether a moment is quiet."""
        if self.begin <= self.end:
            return self.begin <= at.time() < self.end
        return at.time() >= self.begin or at.time() < self.end


@dataclass(frozen=True)
class Approval:
    """Channels of who approves and of the deputy, and after how many hours each is asked again."""

    people: str
    deputy: str
    remind_after_h: float = 4.0
    deputy_after_h: float = 24.0

    def __post_init__(self) -> None:
        if not 0 < self.remind_after_h <= self.deputy_after_h:
            raise ValueError(
                f"remind_after_h = {self.remind_after_h:g} and deputy_after_h = "
                f"{self.deputy_after_h:g}: the reminder comes first"
            )


@dataclass(frozen=True)
class Alerts:
    """The whole file; without channels nobody is told and messages wait."""

    channel: tuple[Channel, ...] = ()
    quiet: Quiet | None = None
    approval: Approval | None = None
    group_min: float = 10.0

    def __post_init__(self) -> None:
        names = [channel.name for channel in self.channel]
        wanted = (self.approval.people, self.approval.deputy) if self.approval else ()
        if unknown := sorted({*wanted} - {*names}):
            raise ValueError(f"approval names channels that are not there: {', '.join(unknown)}")
        if len({*names}) < len(names):
            raise ValueError(f"channels {', '.join(names)}: a name is there twice")


def load(home: Path) -> Alerts:
    """The file of a home; nobody is told without one.

    Raises
    ------
    UsageError
        Naming every wrong key, its value and what is allowed.
    """
    path = home / FILE
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"alerts {path} cannot be read ({error})", "write it as TOML") from error
    return checked(Alerts, data, f"alerts {path}", "see docs/rollout.md")
