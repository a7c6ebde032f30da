"""Buckets that no fit has seen, as a model sees them: what it leaves of the moves and predicts.

Own terms (own flow, its sign, peer flow) are fitted on these buckets themselves and taken out of
both, so that a change of self impact, of the spread or of the peers' push is not taken for one of
gamma.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from crossimpact.estimate.market_control import market_flow
from crossimpact.estimate.own_terms import fitted, projector
from crossimpact.estimate.pilot import CLIP
from crossimpact.estimate.robust import robust_spread
from crossimpact.model import Array, ImpactModel
from crossimpact.panel import OWN, Panel, tick_scale
from crossimpact.response import MOVES, Response
from crossimpact.slope import Slope, between_days

MIN_CELLS = 5 * OWN  # a name whose response is known less often says nothing


@dataclass(frozen=True)
class HeldOut:
    """One regime's buckets of a few days.

    Attributes
    ----------
    date
        Of each bucket, shape (T,).
    flow
        Scaled flows ``f_j sqrt(adv_j)``, shape (T, n).
    left
        What is left of the scaled responses ``y_i sqrt(adv_i)`` once own terms and the model's
        cross terms are out; far ones moved in, 0 where unknown, (T, n).
    cross
        The model's cross move net of own terms, scaled alike, 0 where the response is unknown.
    known
        Where it is known, (T, n).
    """

    date: NDArray[np.str_]
    flow: Array
    left: Array
    cross: Array
    known: NDArray[np.bool_]

    @property
    def noise(self) -> Array:
        """Standard deviation of what is left by name, 0 for a name that says nothing, (n,)."""
        cells = self.known.sum(axis=0)
        free = np.maximum(cells - OWN, 1)
        return np.asarray(np.sqrt((self.left**2).sum(axis=0) / free))

    def weighted_cross(self) -> tuple[NDArray[np.bool_], Array, Array]:
        """Names with a response, their cross moves x over their noise, and ``W x`` of each bucket.

        W is the inverse of the names' noise correlation, shrunk (Ledoit and Wolf 2004): a move
        that hits all names alike is not evidence n times over.
        """
        noise = self.noise
        has_response = noise > 0
        x, e = (
            self.cross[:, has_response] / noise[has_response],
            self.left[:, has_response] / noise[has_response],
        )
        if not has_response.any():
            return has_response, x, x
        correlation, _ = ledoit_wolf(e, assume_centered=True)
        return has_response, x, np.linalg.solve(correlation, x.T).T

    def calibration(self) -> tuple[Array, Array]:
        """``x'Wx`` and ``x'Wy`` of each bucket (T,), y what is realized of the cross moves x: their
        sums' ratio is the factor on the model's cross moves that all names together ask for."""
        has_response, x, weighted = self.weighted_cross()
        information = (x * weighted).sum(axis=1)
        e = self.left[:, has_response] / np.where(has_response, self.noise, 1.0)[has_response]
        return information, np.asarray(information + (weighted * e).sum(axis=1))

    def slope(self) -> Slope | None:
        """That ratio with its error between days; None when nothing is predicted.

        The one statistic of calibration: of the walk-forward, of drift and of daily TCA.
        """
        return between_days(*self.calibration(), self.date)


def pooled_slope(
    models: Mapping[str, ImpactModel], panel: Panel, responses: Mapping[str, Response]
) -> Slope | None:
    """`HeldOut.slope` of several regimes' buckets together; None when nothing is predicted.

    Parameters
    ----------
    models
        By regime, on the panel's symbols.
    panel
        Whole days, plausible cells only, net of what earlier buckets left (`estimate.carried`).
    responses
        By regime: how slippage and mid move are read as one.
    """
    opened = [
        open_held_out(model, panel.of_regime(regime), responses.get(regime, MOVES))
        for regime, model in models.items()
        if (panel.regime == regime).any()
    ]
    if not opened:
        return None
    information, score = (
        np.concatenate(sums) for sums in zip(*(o.calibration() for o in opened), strict=True)
    )
    return between_days(information, score, np.concatenate([o.date for o in opened]))


def open_held_out(model: ImpactModel, panel: Panel, response: Response = MOVES) -> HeldOut:
    """Confront a model with its regime's buckets.

    Parameters
    ----------
    model
        The regime's matrix, on the panel's symbols.
    panel
        Buckets of the model's regime, plausible cells only. Net of what earlier buckets left, what
        fades of the others' pushes is part of the prediction: taken out of both sides, couplings
        that are gone would still be seen in what the panel was made net of.
    response
        How slippage and mid move are read as one.
    """
    fading = None
    if panel.net_of_own is not None:
        fading = response.to_cross(panel.net_of_own) - response.to_cross(panel)
    return confront(model, panel, model.cross_bps(panel.q), response, fading)


def confront(
    model: ImpactModel, panel: Panel, cross: Array, response: Response, fading: Array | None = None
) -> HeldOut:
    """The same with cross moves (T, n), signed bps, that several models predicted in turn; `fading`
    is what of them the panel is net of already."""
    f = model.flow(panel.q)
    columns = [f, np.sign(panel.q), panel.sector_flow, panel.factor_flow]
    if (market := market_flow(model, panel.q)) is not None:
        columns.append(market)  # gamma is what its market control left
    own = np.stack(columns, axis=2)
    moved = response.to_cross(panel)
    known = np.isfinite(moved)
    known &= known.sum(axis=0) >= MIN_CELLS
    y = np.where(known, moved - cross, 0.0)
    told = cross if fading is None else cross + np.nan_to_num(fading)
    own, cross = own * known[:, :, None], np.where(known, told, 0.0)
    solve = projector(own)
    far = np.where(known, np.abs(y - fitted(own, solve, y)), np.nan)
    reach = CLIP * np.maximum(
        robust_spread(far, axis=0),
        tick_scale(np.where(known, response.to_cross(panel.seen), np.nan)),
    )
    middle = fitted(own, solve, y)
    y = np.where(known, middle + np.clip(y - middle, -reach, reach), 0.0)
    root = np.sqrt(panel.adv)
    return HeldOut(
        date=panel.date,
        flow=f * root,
        left=np.where(known, y - fitted(own, solve, y), 0.0) * root,
        cross=np.where(known, cross - fitted(own, solve, cross), 0.0) * root,
        known=known,
    )
