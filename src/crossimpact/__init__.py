"""crossimpact: measure, certify and price the coupling between names traded together.

The names of `__all__` are loaded when they are asked for: a reader of the model pays for no
estimator. What they are is told to type checkers by `__init__.pyi`.
"""

import sys
from importlib import import_module
from typing import Any

from crossimpact.moved import OldPaths

__version__ = "0.1.0"

_HOMES = {
    "errors": "",
    "Certificate": "manipulation",
    "Client": "consumer.client",
    "Cost": "model",
    "CrossImpactError": "errors",
    "Decay": "kernel.decay",
    "ImpactModel": "model",
    "Panel": "panel",
    "PathCertificate": "path_manipulation",
    "Problem": "policy.sequential.problem",
    "Release": "release.bundle",
    "certificate": "manipulation",
    "fit_regime": "estimate.refit",
    "pair_costs": "tca",
    "path_certificate": "path_manipulation",
    "predict": "tca",
    "read_release": "release.release_files:read",
    "solve": "policy.sequential",
    "stabilise": "estimate.stability",
    "weekly_drift": "drift.weekly",
}
__all__ = [*_HOMES, "__version__"]

if not any(isinstance(finder, OldPaths) for finder in sys.meta_path):
    sys.meta_path.append(OldPaths())


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, its_name = _HOMES[name].partition(":")
    if not module:
        return import_module(f"{__name__}.{name}")
    return getattr(import_module(f"{__name__}.{module}"), its_name or name)


def __dir__() -> list[str]:
    return sorted(__all__)
