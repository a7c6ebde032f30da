"""How a cell's two responses, the mid's move and what its fills paid, are read as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossimpact.model import Array
from crossimpact.panel import Panel


@dataclass(frozen=True)
class Response:
    """The blended response, in bps as fills pay them.

    A push builds up through the bucket while its fills are spread over it: they pay a part of what
    the mid keeps at the bucket's end. The mid's moves times that ratio carry the same beta and
    gamma as slippage, with another noise.

    Attributes
    ----------
    share
        Part of the response that is the fills' slippage, the rest the mid move, in [0, 1].
    own, cross
        What fills pay of the own and of the cross impact that the mid keeps, > 0; typically .5 to
        .95, and 1 when the whole push comes before its fills.
    """

    share: float = 0.0
    own: float = 1.0
    cross: float = 1.0

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> Response:
        """From a release's metrics of one regime."""
        ratios = (float(metrics.get(f"fill_ratio_{kind}", 1.0)) for kind in ("own", "cross"))
        return cls(float(metrics.get("slippage_share", 0.0)), *ratios)

    def to_own(self, panel: Panel, cross: Array | None = None) -> Array:
        """The response that carries own impact, signed bps (T, n), less the `cross` impact."""
        blend = blended(panel, self.share, self.own)
        if cross is None:
            return blend
        return np.asarray(blend - cross * self._shown(self.own / self.cross))

    def to_cross(self, panel: Panel, own: Array | float = 0.0) -> Array:
        """The response that carries cross impact, signed bps (T, n), less the `own` impact."""
        blend = blended(panel, self.share, self.cross)
        return np.asarray(blend - own * self._shown(self.cross / self.own))

    def _shown(self, scale: float) -> float:
        """What the blend shows of an impact whose mid part is `scale` times what fills pay."""
        return self.share + (1 - self.share) * scale


#: Mid moves alone, and slippage alone.
MOVES, SLIPPAGE = Response(), Response(share=1.0)


def blended(panel: Panel, share: float, ratio: float = 1.0) -> Array:
    """Signed response of each cell, bps: `share` of the fills' slippage and the rest of `ratio`
    times the mid move where something was executed, the latter elsewhere; one alone where the other
    is not known, NaN without either, shape (T, n). A mid that never moves is not known."""
    alive = (np.nan_to_num(panel.seen.move) != 0).any(axis=0)
    signed, move = panel.response, np.where(alive, ratio * panel.move, np.nan)
    both = np.isfinite(signed) & np.isfinite(move)
    mixed = np.where(both, move + share * (signed - move), move)
    return np.where(np.isfinite(mixed), mixed, signed)
