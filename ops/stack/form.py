"""What a rehearsal asks of the services, be they processes or containers, and their start."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from crossimpact.errors import CrossImpactError
from ops.stack.compose import Service

#: Starts again after which a service that is to become healthy is given up.
RESTARTS = 3
POLL_S = 1.0


@dataclass(frozen=True)
class Done:
    """What a command in a service came to."""

    code: int
    out: bytes
    err: str


class Form(Protocol):
    """The services of one folder, each started again when it dies, as its policy says."""

    @property
    def services(self) -> Mapping[str, Service]: ...

    @property
    def restarts(self) -> Mapping[str, int]:
        """How often each was started again because it had died."""
        ...

    def volume(self, name: str) -> Path:
        """The folder of a named volume, owned by whoever writes there."""
        ...

    def start(self, name: str) -> None: ...

    def once(self, name: str) -> None:
        """Run a service that ends by itself; anything but success is an error."""
        ...

    def running(self, name: str) -> bool: ...

    def execute(
        self, name: str, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 900
    ) -> Done:
        """Run a command as the service, with its files and environment."""
        ...

    def kill(self, name: str, *, stay: bool = False) -> int:
        """SIGKILL for all of a service at once; how many processes. Its policy brings it back."""
        ...

    def logs(self, name: str, lines: int = 15) -> str: ...

    def memory_mb(self) -> dict[str, float]:
        """Memory of each service, shared pages divided among the sharers."""
        ...

    def stop(self) -> None:
        """End everything, the last started first."""
        ...

    def discard(self) -> None:
        """Remove the volumes, which a stop keeps."""
        ...

    def left(self) -> list[str]:
        """What still runs or listens."""
        ...


def healthy(form: Form, name: str) -> bool:
    """Whether a service runs and its own check says that it is well."""
    check = form.services[name].healthcheck
    if check is None or not form.running(name):
        return False
    try:
        return form.execute(name, check.command, timeout_s=check.timeout_s).code == 0
    except subprocess.TimeoutExpired:
        return False


def bring_up(form: Form, names: Collection[str], seconds: float) -> dict[str, float]:
    """Start services as soon as those they wait for let them; seconds until each was well.

    Raises
    ------
    CrossImpactError
        Naming the service that failed, keeps dying, or is not well in time, with its last lines.
    """
    begun, started, well = time.monotonic(), set[str](), dict[str, float]()
    while len(well) < len(names):
        for name in (n for n in form.services if n in names and n not in well):
            service = form.services[name]
            if name not in started and all(
                other in well or other not in names for other in service.after
            ):
                started.add(name)
                form.once(name) if service.once else form.start(name)
            if name in started and (service.once or healthy(form, name)):
                well[name] = time.monotonic() - begun
            elif form.restarts[name] > RESTARTS:
                raise CrossImpactError(f"{name} keeps dying\n{form.logs(name)}")
        if time.monotonic() - begun > seconds:
            late = ", ".join(n for n in names if n not in well)
            name = next(n for n in form.services if n in names and n not in well)
            raise CrossImpactError(f"not well after {seconds:.0f} s: {late}\n{form.logs(name)}")
        time.sleep(POLL_S)
    return well
