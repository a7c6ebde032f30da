"""The market's own move as a control: what a name answers to the sum of the others' flows.

One coefficient per name, ``c_i sum_{j != i} w_j f_j``, without symmetry in dollars: an index fund
may move with its members' flows more than they with its own. No admissible impact does that, so
such a factor is taken out of the responses before couplings are fitted, like the peers' flow; it is
in the model's provenance, in no price and in no schedule.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from crossimpact.estimate.equations import Equations, common_regressor
from crossimpact.estimate.shrinkage import row_gradients
from crossimpact.model import Array, ImpactModel

KEY = "market_control"  # of the model's provenance
SIZE_POWERS = (0.0, -0.5)  # of a flow's weight in the market's: dollars, or shares of ADV
MIN_NAMES = 3  # with two, the control is all there is to couple


def weights(equations: Equations, beta: Array, adv: Array) -> Array:
    """Names' weights in the market's flow of scaled space, shape (n,): by the root of own impact,
    of dollar flows or of flows as shares of ADV, whichever explains more of all rows."""

    def explained(root: Array) -> float:
        _, _, push = common_regressor(equations, root)
        return float(equations.weight @ (coefficients(equations, root) ** 2 * push))

    size = adv / np.median(adv)
    return max((np.sqrt(beta) * size**power for power in SIZE_POWERS), key=explained)


def coefficients(equations: Equations, root: Array, M: Array | None = None) -> Array:
    """Least squares of what `M` leaves of each row on the others' flows weighted by `root`."""
    others, _, push = common_regressor(equations, root)
    left = equations.xy if M is None else row_gradients(equations, M)
    answer = (others * left).sum(axis=1)
    return np.asarray(np.divide(answer, push, out=np.zeros_like(push), where=push > 0))


def loadings(coefficient: Array, root: Array) -> Array:
    """The control as a matrix of scaled space, zero diagonal, shape (n, n)."""
    matrix = np.outer(coefficient, root)
    np.fill_diagonal(matrix, 0.0)
    return matrix


# -- in a model ----------------------------------------------------------------------------------


def recorded(coefficient: Array, root: Array, adv: Array) -> dict[str, Any]:
    """Provenance of a model fitted with the control: `weight` of each name in the market's flow
    and `bps` per unit of it."""
    weight = root * np.sqrt(adv)
    total = float(weight.sum()) or 1.0
    return {
        KEY: {
            "weight": (weight / total).tolist(),
            "bps": (coefficient * total / np.sqrt(adv)).tolist(),
        }
    }


def market_flow(model: ImpactModel, q: Array) -> Array | None:
    """The others' weighted flow as each name sees it, (T, n); None without a control."""
    if KEY not in model.provenance:
        return None
    share = model.flow(q) * np.array(model.provenance[KEY]["weight"], dtype=float)
    return np.asarray(share.sum(axis=1, keepdims=True) - share)


def market_move(model: ImpactModel, q: Array) -> Array:
    """What the control says the market moved, signed bps (T, n); 0 without one."""
    flow = market_flow(model, q)
    if flow is None:
        return np.zeros_like(q)
    return np.asarray(flow * np.array(model.provenance[KEY]["bps"], dtype=float))
