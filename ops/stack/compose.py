"""What docker-compose.yml says, as far as services are started, watched and stopped by it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Literal

import yaml

from crossimpact.errors import UsageError
from ops.airflow_env import ROOT

FILE = ROOT / "docker-compose.yml"
Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]
#: `$$`, `${X}`, `${X:-default}` and `${X:?message}`.
VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})")
SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Healthcheck:
    """How a service is asked whether it is well; times in seconds."""

    command: tuple[str, ...]
    interval_s: float
    timeout_s: float
    retries: int
    start_period_s: float
    start_interval_s: float


@dataclass(frozen=True)
class Mount:
    """A named volume, or a folder of the checkout, at a place of the service."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True)
class Service:
    """A service, its variables filled in."""

    name: str
    image: str
    build: str | None
    command: tuple[str, ...]
    environment: Mapping[str, str]
    user: tuple[int, int]
    after: Mapping[str, Condition]
    mounts: tuple[Mount, ...]
    tmpfs: Mapping[str, str]
    ports: tuple[str, ...]
    networks: tuple[str, ...]
    restart: str
    read_only: bool
    init: bool
    healthcheck: Healthcheck | None
    stop_signal: str
    grace_s: float
    memory: str

    @property
    def once(self) -> bool:
        """Whether it is to end by itself."""
        return self.restart == "no"


def document(path: Path = FILE) -> dict[str, Any]:
    """The file as YAML has it, anchors and merges followed."""
    parsed: dict[str, Any] = yaml.safe_load(path.read_text())
    return parsed


def services(values: Mapping[str, str], path: Path = FILE) -> dict[str, Service]:
    """The services by name, in an order in which each comes after those it depends on.

    Raises
    ------
    UsageError
        Naming every variable that has no value, or services that wait for one another.
    """
    rows = document(path)["services"]
    missing = sorted({name for text in texts(rows) for name in lacking(text, values)})
    if missing:
        raise UsageError(f"no value for {', '.join(missing)}", "run `make secrets`")
    targets = {row["image"]: row["build"]["target"] for row in rows.values() if "build" in row}
    found = {
        name: _service(name, filled(row, values), targets.get(row["image"]))
        for name, row in rows.items()
    }
    try:
        order = list(TopologicalSorter({n: list(s.after) for n, s in found.items()}).static_order())
    except CycleError as error:
        raise UsageError(f"services wait for one another: {' -> '.join(error.args[1])}") from None
    return {name: found[name] for name in order}


def owner(services: Mapping[str, Service], volume: str) -> tuple[int, int]:
    """User and group of whoever writes to a volume; of who reads it where nobody does."""
    mounts = [
        (mount.read_only, service.user)
        for service in services.values()
        for mount in service.mounts
        if mount.source == volume
    ]
    return min(mounts)[1]


def texts(node: Any) -> Iterator[str]:
    """Every text in it."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        yield from texts(list(node.values()))
    elif isinstance(node, Sequence):
        for item in node:
            yield from texts(item)


def lacking(text: str, values: Mapping[str, str]) -> Iterator[str]:
    """Names of required variables without a value."""
    for dollar, name, kind, _ in VARIABLE.findall(text):
        if not dollar and kind != "-" and not values.get(name):
            yield name


def filled(node: Any, values: Mapping[str, str]) -> Any:
    """The same with every variable replaced by its value."""

    def value(found: re.Match[str]) -> str:
        dollar, name, _, default = found.groups()
        return "$" if dollar else values.get(name) or default or ""

    if isinstance(node, str):
        return VARIABLE.sub(value, node)
    if isinstance(node, Mapping):
        return {key: filled(item, values) for key, item in node.items()}
    if isinstance(node, Sequence):
        return [filled(item, values) for item in node]
    return node


def seconds(text: str) -> float:
    """`1m30s` in seconds."""
    parts = re.findall(r"([\d.]+)(ms|s|m|h)", text)
    return sum(float(number) * SECONDS[unit] for number, unit in parts)


def _service(name: str, row: Mapping[str, Any], target: str | None) -> Service:
    user, _, group = str(row["user"]).partition(":")
    options = (entry.partition(":") for entry in row.get("tmpfs", ()))
    return Service(
        name=name,
        image=row["image"],
        build=target,
        command=tuple(map(str, row.get("command", ()))),
        environment={key: str(value) for key, value in row.get("environment", {}).items()},
        user=(int(user), int(group or user)),
        after={other: said["condition"] for other, said in row.get("depends_on", {}).items()},
        mounts=tuple(map(_mount, row.get("volumes", ()))),
        tmpfs={place: said for place, _, said in options},
        ports=tuple(row.get("ports", ())),
        networks=tuple(row.get("networks", ())),
        restart=row.get("restart", "no"),
        read_only=row.get("read_only", False),
        init=row.get("init", False),
        healthcheck=_healthcheck(row["healthcheck"]) if "healthcheck" in row else None,
        stop_signal=row.get("stop_signal", "SIGTERM"),
        grace_s=seconds(row.get("stop_grace_period", "10s")),
        memory=row.get("mem_limit", ""),
    )


def _mount(text: str) -> Mount:
    source, target, *options = text.split(":")
    return Mount(source, target, "ro" in options)


def _healthcheck(row: Mapping[str, Any]) -> Healthcheck:
    kind, *words = row["test"]
    return Healthcheck(
        command=("sh", "-c", words[0]) if kind == "CMD-SHELL" else tuple(words),
        interval_s=seconds(row["interval"]),
        timeout_s=seconds(row["timeout"]),
        retries=row["retries"],
        start_period_s=seconds(row["start_period"]),
        start_interval_s=seconds(row["start_interval"]),
    )
