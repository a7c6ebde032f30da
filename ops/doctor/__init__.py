"""`crossimpact doctor`: what is wrong on this machine and in this home, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from crossimpact.errors import CrossImpactError
from ops.doctor import machine, servers, state
from ops.doctor.check import Check, Clock, wrong
from pipelines.store.settings import Settings

#: In the order in which one thing rests on the other.
CHECKS: dict[str, Callable[[Settings, Clock], Check]] = {
    "python": machine.python,
    "packages": machine.packages,
    "encoding": machine.encoding,
    "home": machine.home,
    "secrets": machine.secrets,
    "disk": machine.disk,
    "ports": machine.ports,
    "clock": servers.clock,
    "database": servers.database,
    "registry": servers.registry,
    "login": servers.login,
    "ledger": state.ledger,
    "champion": state.champion,
    "code": state.code,
}


def examine(settings: Settings, now: Clock, names: Iterable[str] | None = None) -> list[Check]:
    """The checks of those names, all by default; one that cannot be made is wrong itself."""
    return [_made(name, CHECKS[name], settings, now) for name in names or CHECKS]


def _made(
    name: str, check: Callable[[Settings, Clock], Check], settings: Settings, now: Clock
) -> Check:
    try:
        result = check(settings, now)
    except CrossImpactError as error:
        result = wrong(error.what, todo=error.hint)
    except (OSError, ValueError, KeyError, TypeError) as error:
        result = wrong(f"could not be checked: {type(error).__name__}: {error}")
    return result.named(name)
