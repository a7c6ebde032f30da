"""Checks of the machine: Python, packages, encodings, permissions, disk, ports."""

from __future__ import annotations

import json
import locale
import os
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import psutil

from ops.airflow_env import ROOT
from ops.doctor.check import Check, Clock, ok, warn, wrong
from ops.processes import Process, port_free
from pipelines.store.settings import Settings

LOCK = ROOT / "requirements.lock"
PIN = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==([^\s;]+)\s*(?:;\s*([^\\]+?))?\s*\\?$")
OLDEST = (3, 11)
SHOWN = 5
#: Of the disk, below which it is worth a look, and too little.
LITTLE, TOO_LITTLE = 0.10, 0.03
#: Files with secrets in them, below the home and in the checkout.
SECRET_FILES = ("secrets/*",)
PORTS = {"CROSSIMPACT_AIRFLOW_PORT": "api-server", "CROSSIMPACT_MLFLOW_PORT": "mlflow"}
LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


def python(settings: Settings, now: Clock) -> Check:
    """The interpreter."""
    found = ".".join(map(str, sys.version_info[:3]))
    limit = f"at least {'.'.join(map(str, OLDEST))}"
    if sys.version_info[:2] < OLDEST:
        return wrong(found, limit, "install it, and run `make install` again")
    return ok(found, limit)


def packages(settings: Settings, now: Clock) -> Check:
    """What is installed against the lock."""
    if not LOCK.exists():
        return warn(f"{LOCK} is not there", todo="run from a checkout")
    pins = dict(pinned(LOCK))
    needed = required()
    other = [
        f"{name} {have or 'absent'}, not {pin}"
        for name, pin in pins.items()
        if (have := _installed(name)) != pin and (have or name in needed)
    ]
    if other:
        more = f" and {len(other) - SHOWN} more" if len(other) > SHOWN else ""
        return wrong(
            "; ".join(other[:SHOWN]) + more, "as in requirements.lock", "run `make install`"
        )
    return ok(f"{len(pins)} as locked")


def pinned(lock: Path) -> Iterator[tuple[str, str]]:
    """Names and versions of a lock, those that are for this interpreter."""
    from packaging.markers import Marker

    for line in lock.read_text().splitlines():
        found = PIN.match(line)
        if found and (not found[3] or Marker(found[3]).evaluate()):
            yield found[1], found[2]


def required() -> set[str]:
    """What the platform itself asks for; the lock's others (tools, a service's) may be absent."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    asked = map(Requirement, requires("crossimpact") or ())
    return {
        canonicalize_name(one.name)
        for one in asked
        if one.marker is None or one.marker.evaluate({"extra": "platform"})
    }


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def encoding(settings: Settings, now: Clock) -> Check:
    """Of text and of file names."""
    found = {locale.getpreferredencoding(False), sys.getfilesystemencoding()}
    if any(name.lower().replace("-", "") != "utf8" for name in found):
        return wrong(", ".join(sorted(found)), "UTF-8", "set LANG=C.UTF-8")
    return ok("UTF-8")


def home(settings: Settings, now: Clock) -> Check:
    """Whose the home is, and who may look into it."""
    status = settings.home.stat()
    mode = f"mode {status.st_mode & 0o777:04o}"
    if status.st_mode & 0o007:
        return wrong(mode, "nothing for others", f"chmod o= {settings.home}")
    if not os.access(settings.home, os.W_OK):
        return warn("read-only", todo="reading works; refit and promote where it may be written")
    if status.st_uid != os.getuid():
        return warn(f"owned by uid {status.st_uid}", f"uid {os.getuid()}", "run as its owner")
    return ok(mode, "nothing for others")


def secrets(settings: Settings, now: Clock) -> Check:
    """Passwords and keys are their owner's alone."""
    files = [path for pattern in SECRET_FILES for path in settings.home.glob(pattern)]
    files = [path for path in (*files, ROOT / ".env") if path.is_file()]
    open_ = sorted(str(path) for path in files if path.stat().st_mode & 0o077)
    if open_:
        modes = [f"{path} {Path(path).stat().st_mode & 0o777:04o}" for path in open_]
        return wrong(", ".join(modes), "0600", f"chmod 600 {' '.join(open_)}; give out new ones")
    return ok(f"{len(files)} files")


def disk(settings: Settings, now: Clock) -> Check:
    """Room where the home lies."""
    usage = shutil.disk_usage(settings.home)
    share = usage.free / usage.total
    found, limit = f"{share:.1%} free, {usage.free / 2**30:.1f} GiB", f"at least {LITTLE:.0%}"
    todo = "make room: docs/operations.md says what grows and what may go"
    if share < TOO_LITTLE:
        return wrong(found, limit, todo)
    return warn(found, limit, todo) if share < LITTLE else ok(found, limit)


def ports(settings: Settings, now: Clock) -> Check:
    """Ports that are asked for are free, or ours; ours are on loopback."""
    running = {name: Process(name, settings.home).members() for name in PORTS.values()}
    wide = [f"{name} at {where}" for name, members in running.items() for where in _wide(members)]
    if wide:
        return wrong(", ".join(wide), "loopback", "bind it to 127.0.0.1")
    taken = [
        f"{os.environ[variable]} ({variable})"
        for variable, name in PORTS.items()
        if os.environ.get(variable, "").isdecimal() and not running[name]
        if not port_free(int(os.environ[variable]))
    ]
    if taken:
        return wrong(f"taken by somebody else: {', '.join(taken)}", todo="free it, or set another")
    dead = [name for name, port in _noted(settings.home).items()
            if running[name] and port_free(port)]  # fmt: skip
    if dead:
        return wrong(
            f"{', '.join(dead)} runs and does not listen", todo="look at its log; `make up`"
        )
    return ok(f"{sum(map(bool, running.values()))} of ours listen")


def _noted(place: Path) -> dict[str, int]:
    """Ports that a running `make up` has noted."""
    path = place / "run" / "ports.json"
    noted = json.loads(path.read_text()) if path.exists() else {}
    names = {"airflow": "api-server", "mlflow": "mlflow"}
    return {names[name]: int(port) for name, port in noted.items() if name in names}


def _wide(processes: list[psutil.Process]) -> Iterator[str]:
    """Addresses beyond loopback that any of them listens at."""
    for process in processes:
        try:
            connections = process.net_connections("inet")
        except psutil.Error:
            continue
        for connection in connections:
            listens = connection.status == psutil.CONN_LISTEN
            if listens and connection.laddr.ip not in LOOPBACK:
                yield f"{connection.laddr.ip}:{connection.laddr.port}"
