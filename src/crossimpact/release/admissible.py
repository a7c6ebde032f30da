"""Are a release's numbers fit to trade on? Asked anew on loading, whatever gates once said.

Of every model of every rung: all numbers finite, no impact beyond `MAX_BPS`, and no round trip that
makes money within a bucket: the couplings symmetric in dollars and, with the names' own impacts,
positive semidefinite; nor, with linear flow, over buckets under the regime's decay kernel. An
override may promote what a gate refuses; nothing overrides this.
"""

from __future__ import annotations

import numpy as np
from numpy.linalg import LinAlgError, cholesky  # scipy's takes longer to import than to run

from crossimpact.errors import ModelError
from crossimpact.kernel.decay import Decay
from crossimpact.model import ImpactModel
from crossimpact.release.bundle import Release
from crossimpact.scaled import TOLERANCE, normalised

#: bps per unit of ADV fraction (beta, gamma) or per trade (alpha); real ones are 100 times smaller.
MAX_BPS = 1e6


def check(release: Release) -> None:
    """Refuse a release with numbers nobody should trade on.

    Raises
    ------
    ModelError
        Naming the regime, the rung and the number against its limit.
    """
    for regime in release.models:
        for rung, model in release.rungs(regime).items():
            _check_model(model, f"rung {rung} of regime {regime}")


def _check_model(model: ImpactModel, where: str) -> None:
    for name, low in (("alpha", -MAX_BPS), ("beta", 0.0), ("gamma", -MAX_BPS)):
        value = getattr(model, name)
        if value.size and not (low <= value.min() and value.max() <= MAX_BPS):
            raise ModelError(f"{name} of {where} is not within {low:g} and {MAX_BPS:g} bps")
    for name in ("adv", "reference"):
        value = getattr(model, name)
        if value.size and not 0 < value.min() <= value.max() < np.inf:
            raise ModelError(f"{name} of {where} is not finite and > 0")
    if model.gamma.any():
        _check_round_trips(model, where)
    if model.kernel is not None:
        _check_paths(model, model.kernel, where)


def _check_round_trips(model: ImpactModel, where: str) -> None:
    matrix = normalised(model)
    skew = float((matrix - matrix.T).max())
    if not skew <= TOLERANCE:
        raise ModelError(
            f"couplings of {where} differ by {skew:.2g} of own impact from symmetric ones, "
            f"at most {TOLERANCE:g}"
        )
    matrix[np.diag_indices_from(matrix)] += TOLERANCE
    try:
        cholesky(matrix)
    except LinAlgError as error:
        raise ModelError(
            f"couplings of {where} are not positive semidefinite: a round trip would make money"
        ) from error


def _check_paths(model: ImpactModel, kernel: Decay, where: str) -> None:
    """Whether the spectral density at both ends is what `path_certificate` asks for."""
    for end in kernel.spectral_ends(normalised(model)):
        end[np.diag_indices_from(end)] += TOLERANCE * max(1.0, float(np.abs(end).max(initial=0.0)))
        try:
            cholesky(end)
        except LinAlgError as error:
            raise ModelError(
                f"couplings of {where} with its decay kernel are not positive semidefinite: a "
                "round trip over buckets would make money",
                f"scales are {kernel.scale_self:g} and {kernel.scale_cross:g}, of self alone at "
                f"most {kernel.largest_scale:g}",
            ) from error
