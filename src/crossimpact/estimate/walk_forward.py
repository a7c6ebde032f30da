"""Purged walk-forward: what each candidate explains of days nobody had seen when it was fitted.

The regime's dates are cut into `BLOCKS`, and the last third of them is walked through in `STEPS`,
each scored by models fitted on all blocks before it. Buckets do not overlap, so a night separates
training and test, and the first buckets after it are purged as well. With too few dates to hold any
out, parts of sessions are the blocks: no night lies between them, the purge alone. Scored are the
rungs of the ladder, the usual baselines, and a placebo whose cross flows come a session (or half of
one) late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crossimpact.estimate.bucket_costs import bucket_costs
from crossimpact.estimate.held_out import HeldOut, confront
from crossimpact.estimate.market_control import market_move
from crossimpact.estimate.robust import robust_scale
from crossimpact.model import Array, ImpactModel
from crossimpact.panel import Panel, tick_scale
from crossimpact.response import Response
from crossimpact.slope import NOTHING_TOLD, Slope

BLOCKS = 12  # of dates; what is summed by block, training windows and folds alike, adds up
STEPS = 3
MIN_BLOCKS = 4  # fewer and nothing can be held out
MIN_DATES = 2  # to be cut into parts: one date cannot tell the day from the desk
MIN_PARTS = 6  # blocks of parts of sessions; fewer and nothing can be held out
PART_BUCKETS = 18  # of the regime in a part of a session, on average at least
PURGE = 6  # buckets after the start of a test block's first day that are left out
OUTLIER = 6.0  # robust standard deviations beyond which a cell scores no worse


@dataclass(frozen=True)
class Candidate:
    """A model to score, and the others' flows it reads on the test days (placebo: not the real)."""

    model: ImpactModel
    flows: Array | None = None


@dataclass
class Score:
    """Sums over test blocks of one candidate, noise-weighted.

    Attributes
    ----------
    error, total
        Squared error and squared response per symbol, by test day: each a list of (n,).
    slippage_error, slippage_total
        The same on the fills' slippage alone, summed.
    predicted, realized
        Cross cost per bucket over the root-sum-square of its notionals, bps.
    held_out
        All test blocks as the steps' models see them; None when nothing is predicted.
    """

    error: list[Array] = field(default_factory=list)
    total: list[Array] = field(default_factory=list)
    slippage_error: float = 0.0
    slippage_total: float = 0.0
    predicted: list[Array] = field(default_factory=list)
    realized: list[Array] = field(default_factory=list)
    held_out: HeldOut | None = None

    @property
    def r2(self) -> float:
        """Share of the noise-weighted square of the response explained."""
        return _share(float(np.sum(self.error)), float(np.sum(self.total)))

    @property
    def slippage_r2(self) -> float:
        return _share(self.slippage_error, self.slippage_total)

    @property
    def basket_r2(self) -> float:
        """Share of the square of the buckets' cross cost explained; 0 for no prediction at all."""
        x, y = np.concatenate(self.predicted), np.concatenate(self.realized)
        return _share(float(((y - x) ** 2).sum()), float((y**2).sum()))

    def gain_over(self, other: Score) -> tuple[float, float]:
        """Difference of `r2` and its standard error, test days taken as independent."""
        total = float(np.sum(self.total))
        daily = np.array([(b - a).sum() for a, b in zip(self.error, other.error, strict=True)])
        if not total > 0 or len(daily) < 2:
            return 0.0, float("nan")
        return float(daily.sum() / total), float(daily.std(ddof=1) * np.sqrt(len(daily)) / total)

    @property
    def name_r2(self) -> float:
        """Mean over the names seen of each one's own share explained."""
        total = np.sum(self.total, axis=0)
        seen = total > 0
        if not seen.any():
            return 0.0
        return float(np.mean(1.0 - np.sum(self.error, axis=0)[seen] / total[seen]))

    def name_gains(self, other: Score) -> Array:
        """`r2` of each symbol less the other's, NaN where nothing was seen, shape (n,)."""
        total = np.sum(self.total, axis=0)
        gained = np.sum(other.error, axis=0) - np.sum(self.error, axis=0)
        return np.asarray(np.where(total > 0, gained / np.where(total > 0, total, 1.0), np.nan))

    def slope(self) -> Slope:
        """The factor on the predicted cross moves that all names together ask for, each weighted by
        its noise: a few cells cannot own it. NaN when nothing is predicted."""
        return (self.held_out.slope() if self.held_out else None) or NOTHING_TOLD

    @property
    def told(self) -> bool:
        """Whether anything was predicted on the days held out."""
        return any(x.any() for x in self.predicted)


def date_blocks(dates: Sequence[str]) -> list[list[str]]:
    """The dates cut into at most `BLOCKS` runs, as equal as can be."""
    runs = np.array_split(np.array(dates), min(BLOCKS, max(len(dates), 1)))
    return [[str(date) for date in run] for run in runs if run.size]


def parts_of_session(dates: int, buckets: int) -> int:
    """Into how many parts each date is cut so that something can be held out; 1: none, since whole
    dates do, or since not even parts would.

    Parameters
    ----------
    dates, buckets
        Of the regime.
    """
    if not MIN_DATES <= dates < MIN_BLOCKS:
        return 1
    parts = min(BLOCKS // dates, buckets // (dates * PART_BUCKETS))
    return parts if parts * dates >= MIN_PARTS else 1


def splits(blocks: int) -> list[tuple[int, list[int]]]:
    """How many blocks to train on, and which to test; none when there are too few."""
    if blocks < MIN_BLOCKS:
        return []
    first = blocks - max(blocks // 3, 2)
    steps = np.array_split(np.arange(first, blocks), min(STEPS, blocks - first))
    return [(int(step[0]), step.tolist()) for step in steps]


def walk_forward(
    panel: Panel,
    response: Response,
    blocks: Sequence[Sequence[str]],
    fit: Callable[[int], Mapping[str, Candidate]],
) -> tuple[dict[str, Score], int]:
    """Score what `fit` makes of each training window on the blocks after it.

    Parameters
    ----------
    panel
        The regime's buckets with raw flows (models shape them themselves).
    response
        How slippage and mid move are read as one.
    blocks
        The regime's dates, by block.
    fit
        Candidates by name from the first so many blocks, ``self_only`` among them; empty when it
        cannot. A candidate's `flows` cover all of the panel's buckets.

    Returns
    -------
    scores, steps
        By candidate, and the number of steps that could be fitted.
    """
    scores: dict[str, Score] = {}
    done, tested = 0, np.zeros(len(panel.ts), dtype=bool)
    moved: dict[str, Array] = {}
    last: Mapping[str, Candidate] = {}
    for train, test in splits(len(blocks)):
        dates = [date for block in test for date in blocks[block]]
        rows = np.flatnonzero(np.isin(panel.date, dates) & ~_at_seam(panel, dates[0]))
        if not rows.size:
            continue
        candidates = fit(train)
        if not candidates:
            continue
        done, last = done + 1, candidates
        _score_block(panel, rows, response, candidates, scores)
        tested[rows] = True
        for name, candidate in candidates.items():
            if candidate.flows is None:
                cross = moved.setdefault(name, np.zeros_like(panel.q))
                cross[rows] = candidate.model.cross_bps(panel.q[rows])
    for name, cross in moved.items():
        if cross.any():
            seen = panel.where(tested)
            scores[name].held_out = confront(last[name].model, seen, cross[tested], response)
    return scores, done


def _at_seam(panel: Panel, date: str) -> NDArray[np.bool_]:
    """The first `PURGE` buckets of a date's session, or part of one, on the clock of all dates."""
    clock = panel.ts - panel.ts.astype("datetime64[D]")
    width = np.diff(np.unique(clock)).min() if len(np.unique(clock)) > 1 else clock[0]
    part = date.partition(" ")[2]
    start = clock[np.char.endswith(panel.date, part)].min()
    return np.asarray((panel.date == date) & (clock < start + PURGE * width))


def _score_block(
    panel: Panel, rows: NDArray[np.int64], response: Response,
    candidates: Mapping[str, Candidate], scores: dict[str, Score],
) -> None:  # fmt: skip
    part = panel.where(np.isin(np.arange(len(panel.ts)), rows))
    left = _left(candidates["self_only"].model, part, response)
    responses = response.to_cross(part), part.response
    seen = response.to_cross(part.seen), part.seen.response
    weight, fill_weight = map(_weights, left, seen)
    usual = _square(weight, left[0]) < OUTLIER**2
    for name, candidate in candidates.items():
        model = candidate.model
        blend, fills = _left(model, part, response)
        flows = part.q if candidate.flows is None else candidate.flows[rows]
        cross = model.cross_bps(flows)
        score = scores.setdefault(name, Score())
        error, total = _square(weight, blend - cross), _square(weight, responses[0])
        for day in np.unique(part.date):
            score.error.append(error[part.date == day].sum(axis=0))
            score.total.append(total[part.date == day].sum(axis=0))
        score.slippage_error += float(_square(fill_weight, fills - cross).sum())
        score.slippage_total += float(_square(fill_weight, part.response).sum())
        x, y = bucket_costs(part, cross, np.where(usual, blend, np.nan))
        score.predicted.append(x)
        score.realized.append(y)


def _left(model: ImpactModel, panel: Panel, response: Response) -> tuple[Array, Array]:
    """What own impact, peers, market and level leave of the blended response and of the fills'
    slippage, signed bps, both (T, n)."""
    peer = panel.peer_move(np.array(model.provenance["peer_bps"], dtype=float))
    peer = peer + market_move(model, panel.q)
    level = np.array(model.provenance.get("level_bps", response.share * model.alpha), dtype=float)
    own, side = model.self_bps(panel.q), np.sign(panel.q)
    blend = response.to_cross(panel, own) - peer - side * level
    return blend, panel.response - own - peer - side * model.alpha


def _weights(residual: Array, response: Array) -> Array:
    """One over the noise variance of each cell's symbol, 0 where unknown.

    Read off the self-only residuals, so that every candidate is scored on the same cells alike; no
    symbol's few lucky cells may own the score, and a price that seldom ticks counts when it does.
    """
    known = np.isfinite(residual)
    if not known.any():
        return np.zeros_like(residual)
    sigma = np.array([robust_scale(r[k]) for r, k in zip(residual.T, known.T, strict=True)])
    sigma = np.maximum(sigma, tick_scale(np.where(known, response, np.nan)))
    sigma = np.maximum(sigma, robust_scale(residual[known]) / 3)
    return np.asarray(np.where(known, 1.0 / sigma**2, 0.0))


def _square(weight: Array, residual: Array) -> Array:
    """Weighted squares, an outlier's as if it were `OUTLIER` standard deviations away."""
    return np.minimum(weight * np.nan_to_num(residual) ** 2, OUTLIER**2)


def _share(error: float, total: float) -> float:
    return 1.0 - error / total if total > 0 else 0.0
