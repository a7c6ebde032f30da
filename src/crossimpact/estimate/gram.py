"""One shared Gram: the sufficient statistics of a day, which add up over days and folds.

All rows regress on the same flows f, so one matrix ``F'F`` serves every name, every fold and every
penalty; what is a row's own (its flow, the sign of its flow, its peers' flow) enters as four
nuisance columns per name and is partialled out when the days are added up.

Robustness without reweighting, so that the Gram stays shared:

- a response further than `CLIP` robust standard deviations from the day's fit of its own terms is
  moved to that distance (Huber's psi on pseudo-values), so one bad print weighs no more than `CLIP`
  ordinary ones;
- a bucket in which the whole market is noisier than `NOISY` times its regime's median (an outage, a
  catch-up print) counts less, one weight for all its names;
- a cell that is no number is left out, and its row's sums are scaled by what is known.

Responses are mid moves. They carry the same gamma as the slippage of the fills without the fills'
noise; the difference of the two is kept too, so that an estimator may mix both by their noise.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from crossimpact.estimate.design import REGIMES, Panel, blocked_folds, tick_scale
from crossimpact.estimate.equations import Equations
from crossimpact.model import Array, Transform

TRANSFORMS: tuple[Transform, ...] = ("linear", "sqrt")
CLIP = 6.0  # robust standard deviations of the day
NOISY = 2.0  # times its regime's median noise, from where a bucket counts less
PRIOR_NAMES = 5.0  # names' worth of belief that a bucket is as noisy as others of its regime
STEPS = 6  # of the day's robust fit
PILOT_RIDGE = 2.0  # buckets' worth of belief that a day's own terms are flat
HUBER_K = 1.345  # 95% efficiency under Gaussian noise
MIN_COVERAGE = 0.2  # of the buckets; a name whose mid is known less often has no row
STALE = 1e-6  # of other names' squared moves: below it a mid is no book, and its name has no row
MAX_COMMUNALITY = 0.9  # of a name's noise that common factors may explain
OWN = 4  # nuisance columns of a row: own flow, its sign, sector flow, factor flow


@dataclass(frozen=True)
class Moments:
    """Second moments of one day (or a sum of days) in one regime.

    n names; f is a name's transformed flow, B_i row i's nuisance columns, m its mid move in bps,
    d its signed slippage less its mid move (0 where nothing was executed), r what the day's robust
    fit of the own terms leaves of m. Buckets are weighted; `buckets` counts them unweighted.

    Attributes
    ----------
    symbols
        Names, ascending.
    buckets
        Buckets summed.
    seen
        Weighted buckets in which a name's mid move is known, and all of them, shape (2, n).
    ff, rr
        ``f_j f_k`` and ``r_j r_k``, shape (n, n).
    fb, bb
        ``f_j B_i`` (n, n, 4) and ``B_i B_i'`` (n, 4, 4).
    fm, fd, bm, bd
        ``f_j m_i``, ``f_j d_i`` (n, n), row i for name i; ``B_i m_i``, ``B_i d_i`` (n, 4).
    mm, md, dd
        ``m_i^2, m_i d_i, d_i^2``, shape (n,).
    """

    symbols: tuple[str, ...]
    buckets: int
    seen: Array
    ff: Array
    rr: Array
    fb: Array
    bb: Array
    fm: Array
    fd: Array
    bm: Array
    bd: Array
    mm: Array
    md: Array
    dd: Array

    def arrays(self) -> dict[str, Array]:
        """The arrays by name, for storage."""
        return {f.name: getattr(self, f.name) for f in fields(self)[2:]}

    def on(self, symbols: tuple[str, ...]) -> Moments:
        """The same sums on other names: an absent one neither traded nor moved."""
        if symbols == self.symbols:
            return self
        at = {symbol: k for k, symbol in enumerate(self.symbols)}
        into = np.array([k for k, s in enumerate(symbols) if s in at], dtype=int)
        take = np.array([at[symbols[k]] for k in into], dtype=int)
        n, old = len(symbols), len(self.symbols)

        def wide(name: str, value: Array) -> Array:
            named = _NAMED[name]
            array = np.zeros(
                [n if axis in named else size for axis, size in enumerate(value.shape)]
            )
            target = [into if axis in named else np.arange(s) for axis, s in enumerate(value.shape)]
            source = [take if axis in named else np.arange(s) for axis, s in enumerate(value.shape)]
            array[np.ix_(*target)] = value[np.ix_(*source)]
            return array

        moved = {name: wide(name, value) for name, value in self.arrays().items()}
        if old:
            moved["seen"][1] = self.seen[1].max()  # the buckets happened whoever was listed
        return Moments(symbols, self.buckets, **moved)

    def __add__(self, other: Moments) -> Moments:
        names = self.symbols
        if names != other.symbols:
            names = tuple(sorted({*names, *other.symbols}))
        a, b = self.on(names), other.on(names)
        summed = {name: value + getattr(b, name) for name, value in a.arrays().items()}
        return Moments(names, a.buckets + b.buckets, **summed)


#: Axes of each array that run over names.
_NAMED = {
    "seen": (1,), "ff": (0, 1), "rr": (0, 1), "fb": (0, 1), "bb": (0,), "fm": (0, 1),
    "fd": (0, 1), "bm": (0,), "bd": (0,), "mm": (0,), "md": (0,), "dd": (0,),
}  # fmt: skip


#: Dates in order, each with its moments per regime.
History = Iterable[tuple[str, Mapping[str, Moments]]]


def total(days: Iterable[Moments]) -> Moments:
    """The sum of at least one day, in the order given."""
    return reduce(lambda a, b: a + b, days)


def day_moments(
    panel: Panel, transform: Transform, flows: Array | None = None
) -> dict[str, Moments]:
    """The moments of one day, per regime.

    Parameters
    ----------
    panel
        One trading date (a pure function of it: no other day is looked at).
    transform
        ``linear`` f = q, or ``sqrt`` f = sign(q) sqrt(|q|).
    flows
        The others' flow q when it is not the panel's own (placebo), shape (T, n).
    """
    panel = panel.plausible()[0]
    own = shape_flow(panel.q, transform)
    others = own if flows is None else shape_flow(flows, transform)
    columns = (own, np.sign(own), panel.sector_flow, panel.factor_flow)
    B = np.stack([np.where(np.isfinite(c), c, 0.0) for c in columns], axis=2)  # (T, n, 4)
    pilot = _pilot(panel, B)
    days = {}
    for regime in REGIMES:
        rows = panel.regime == regime
        if rows.any():
            days[regime] = _moments(panel.where(rows), others[rows], B[rows], pilot.of(rows))
    return days


def shape_flow(q: Array, transform: Transform) -> Array:
    """Flow as the estimators see it; a cell that is no number did not trade."""
    q = np.where(np.isfinite(q), q, 0.0)
    return np.asarray(np.sign(q) * np.sqrt(np.abs(q)) if transform == "sqrt" else q)


@dataclass(frozen=True)
class _Pilot:
    """The day's robust fit of each name's own terms: its mid moves with far ones moved in, what it
    leaves (both 0 where unknown), which are known, all (T, n), and the buckets' weights (T,)."""

    move: Array
    residual: Array
    known: Array
    weight: Array

    def of(self, rows: Array) -> _Pilot:
        return _Pilot(*(getattr(self, f.name)[rows] for f in fields(self)))


def _pilot(panel: Panel, B: Array) -> _Pilot:
    known = np.isfinite(panel.move)
    y = np.where(known, panel.move, 0.0)
    size = np.sqrt((B**2).mean(axis=0))
    unit = np.divide(B, size, out=np.zeros_like(B), where=size > 0)
    w, bucket = known.astype(float), np.ones(len(y))
    tick = tick_scale(panel.move)
    for _ in range(STEPS):
        inside = np.einsum("tik,ti,til->ikl", unit, w, unit) + PILOT_RIDGE * np.eye(OWN)
        coef = np.linalg.solve(inside, np.einsum("tik,ti->ik", unit, w * y)[:, :, None])[:, :, 0]
        fitted = np.einsum("tik,ik->ti", unit, coef)
        far = np.where(known, np.abs(y - fitted), np.nan)
        name = np.maximum(_scale(far / bucket[:, None], axis=0), tick)
        bucket = _bucket_noise(_scale(far / name, axis=1), known.sum(axis=1), panel.regime)
        noise = name * bucket[:, None]
        w = np.where(known, np.minimum(1.0, HUBER_K * noise / np.maximum(far, 1e-12)), 0.0)
        w = np.nan_to_num(w) / bucket[:, None] ** 2
    residual = np.where(known, np.clip(y - fitted, -CLIP * noise, CLIP * noise), 0.0)
    weight = np.minimum(1.0, (NOISY / _relative(bucket, panel.regime)) ** 2)
    return _Pilot(np.where(known, fitted, 0.0) + residual, residual, known, weight)


def _scale(size: Array, axis: int) -> Array:
    """Robust standard deviation of absolute residuals along `axis`, NaN ignored, never 0.

    The median, with the mean of the moderate ones as a floor for names that tick rarely.
    """
    known = np.isfinite(size)
    count = known.sum(axis=axis)
    ordered = np.sort(np.where(known, size, np.inf), axis=axis)

    def ranked(share: float) -> Array:
        at = (np.maximum(count - 1, 0) * share).astype(int)
        value = np.take_along_axis(ordered, np.expand_dims(at, axis), axis=axis).squeeze(axis)
        return np.asarray(np.where(np.isfinite(value), value, 0.0))

    capped = np.where(known, np.minimum(size, np.expand_dims(ranked(0.95), axis)), 0.0)
    mean = capped.sum(axis=axis) / np.maximum(count, 1)
    scale = np.maximum(ranked(0.5) / 0.6745, mean / 4)
    return np.asarray(np.where(scale > 0, scale, 1.0))


def _bucket_noise(noise: Array, names: NDArray[np.int64], regime: NDArray[np.str_]) -> Array:
    """A bucket's noise relative to the day's median bucket, as far as its names can tell it from
    its regime's."""
    typical = noise / _relative(noise, regime)
    told = (names * noise**2 + PRIOR_NAMES * typical**2) / (names + PRIOR_NAMES)
    return np.asarray(np.sqrt(told) / np.median(noise))


def _relative(noise: Array, regime: NDArray[np.str_]) -> Array:
    """Noise of each bucket over the median of its regime's buckets of the day."""
    relative = np.ones_like(noise)
    for label in np.unique(regime):
        rows = regime == label
        relative[rows] = noise[rows] / np.median(noise[rows])
    return relative


def _moments(panel: Panel, f: Array, B: Array, pilot: _Pilot) -> Moments:
    root, n = np.sqrt(pilot.weight)[:, None], panel.n
    own, m = B[:, :, 0], pilot.move
    excess = np.where((own != 0) & pilot.known, panel.response - m, np.nan)
    d = np.clip(np.where(np.isfinite(excess), excess, 0.0), -_reach(excess), _reach(excess))
    F, M, D, R, B = f * root, m * root, d * root, pilot.residual * root, B * root[:, :, None]
    seen = (pilot.weight[:, None] * pilot.known).sum(axis=0)
    return Moments(
        symbols=panel.symbols,
        buckets=len(f),
        seen=np.vstack([seen, np.full(n, pilot.weight.sum())]),
        ff=F.T @ F,
        rr=R.T @ R,
        fb=(F.T @ B.reshape(len(B), -1)).reshape(n, n, OWN).transpose(1, 0, 2).copy(),
        bb=np.einsum("tik,til->ikl", B, B),
        fm=M.T @ F,
        fd=D.T @ F,
        bm=np.einsum("tik,ti->ik", B, M),
        bd=np.einsum("tik,ti->ik", B, D),
        mm=(M**2).sum(axis=0),
        md=(M * D).sum(axis=0),
        dd=(D**2).sum(axis=0),
    )


def _reach(excess: Array) -> Array:
    """How far a fill's slippage may lie from the mid move before it is moved in, per name."""
    size = np.abs(excess)
    return np.asarray(CLIP * _scale(size, axis=0))


def history(panel: Panel, transform: Transform, flows: Array | None = None) -> History:
    """The moments of every day of a panel, one after the other."""
    for date in np.unique(panel.date):
        rows = panel.date == date
        part = None if flows is None else flows[rows]
        yield str(date), day_moments(panel.where(rows), transform, part)


def blocks(days: History, last: Sequence[str], regimes: Sequence[str]) -> list[dict[str, Moments]]:
    """Days summed into blocks of dates, so that memory does not grow with the window.

    Parameters
    ----------
    days
        In time order.
    last
        Last date of each block, ascending; what comes later joins the last block.
    regimes
        Whose moments are wanted.
    """
    found: list[dict[str, Moments]] = [{} for _ in last]
    for date, by_regime in days:
        block = found[min(bisect_left(last, date), len(last) - 1)]
        for regime in regimes:
            if regime in by_regime:
                day = by_regime[regime]
                block[regime] = block[regime] + day if regime in block else day
    return found


# -- equations ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Design:
    """What the days' sums say once every row's own terms are out.

    Attributes
    ----------
    equations
        Scaled normal equations of all rows, weights one over the noise variance.
    share
        Part of the response that is the fills' slippage; the rest is the mid move.
    factors
        Correlation of the rows' noise: its common factors, unit diagonal, shape (n, n).
    buckets
        How many were summed.
    """

    equations: Equations
    share: float
    factors: Array
    buckets: int


def design(moments: Moments, adv: Array, reference: Array | None = None) -> Design:
    """Take every row's own terms out and weigh the rows by their noise.

    Parameters
    ----------
    moments
        Days summed, on the names of `adv`.
    adv
        Average daily notional, shape (n,): the scaled space is ``x_j = f_j sqrt(adv_j)``.
    reference
        Reference flows of the square-root transform, ``f = sign(q) sqrt(|q| reference)``.
    """
    root, n = np.sqrt(adv), len(adv)
    flow = root if reference is None else root * np.sqrt(reference)
    coverage = moments.seen[0] / np.maximum(moments.seen[1], 1e-300)
    inverse = np.where(coverage > MIN_COVERAGE, 1 / np.maximum(coverage, MIN_COVERAGE), 0.0)
    white = _whiteners(moments.bb)
    basis = np.einsum("ijk,ikl->ijl", moments.fb * flow[None, :, None], white)
    b_mid = np.einsum("ik,ikl->il", moments.bm, white)
    b_fill = np.einsum("ik,ikl->il", moments.bd, white)
    explained = {  # B_i was summed over all buckets, the responses over those that are known
        "mm": inverse * (b_mid**2).sum(axis=1),
        "md": inverse * (b_mid * b_fill).sum(axis=1),
        "dd": inverse * (b_fill**2).sum(axis=1),
    }
    left = {
        "mm": np.maximum(moments.mm - explained["mm"], 0.0),
        "md": moments.md - explained["md"],
        "dd": np.maximum(moments.dd - explained["dd"], 0.0),
    }
    share = _slippage_share(**left)
    y = left["mm"] + 2 * share * left["md"] + share**2 * left["dd"]
    variance = inverse * y / np.maximum(moments.seen[1], 1e-300)
    variance *= moments.buckets / max(moments.buckets - OWN, 1)
    typical = _median_positive(variance)
    moves = moments.mm > STALE * _median_positive(moments.mm)
    known = (variance > 0) & (inverse > 0) & moves
    weight = np.where(known, coverage / (adv * np.maximum(variance, typical / 900 + 1e-300)), 0.0)
    xy = (moments.fm + share * moments.fd) * flow
    xy = xy - np.einsum("ijl,il->ij", basis, b_mid + share * b_fill)
    xy = np.where(np.eye(n, dtype=bool), 0.0, xy * (inverse * root)[:, None])
    equations = Equations(moments.ff * np.outer(flow, flow), basis, xy, weight)
    return Design(equations, share, _factors(moments.rr, moments.buckets), moments.buckets)


def summed(days: Sequence[Moments], panel: Panel, reference: Array | None) -> Design:
    """Days summed, and every row's own terms taken out."""
    return design(total(day.on(panel.symbols) for day in days), panel.adv, reference)


def folded(
    days: Sequence[Moments], panel: Panel, reference: Array | None, folds: int
) -> list[tuple[Equations, Equations]]:
    """Training and held-out equations of blocked folds of days, weights per bucket.

    Empty with a single day (or block of days): there is nothing to hold out.
    """
    if len(days) < 2:
        return []
    fold = blocked_folds(len(days), min(folds, len(days)))
    parts = [
        total(day.on(panel.symbols) for day, f in zip(days, fold, strict=True) if f == k)
        for k in range(int(fold.max()) + 1)
    ]
    found = []
    for k, part in enumerate(parts):
        rest = total(other for at, other in enumerate(parts) if at != k)
        train, test = (per_bucket(design(m, panel.adv, reference)) for m in (rest, part))
        found.append((train, test))
    return found


def per_bucket(design: Design) -> Equations:
    """The equations with weights per bucket: penalties then mean the same in every fold."""
    e = design.equations
    return replace(e, weight=e.weight / max(design.buckets, 1))


def _median_positive(values: Array) -> float:
    positive = values[values > 0]
    return float(np.median(positive)) if positive.size else 0.0


def _whiteners(bb: Array) -> Array:
    """``(B_i'B_i)^-1/2`` of each name, shape (n, 4, 4); a constant or doubled column adds none."""
    size = np.sqrt(np.diagonal(bb, axis1=1, axis2=2))
    inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    values, vectors = np.linalg.eigh(bb * inverse[:, :, None] * inverse[:, None, :])
    kept = values > 1e-8
    root = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
    return np.asarray(inverse[:, :, None] * vectors * root[:, None, :])


def _slippage_share(mm: Array, md: Array, dd: Array) -> float:
    """The mix of mid move and slippage with the least noise, ``-cov(m, d) / var(d)``, pooled."""
    known = (mm > 1e-9 * mm.max(initial=0.0)) & (dd > 0)
    if not known.any():
        return 0.0
    covariance, variance = (md[known] / mm[known]).sum(), (dd[known] / mm[known]).sum()
    return float(np.clip(-covariance / variance, 0.0, 1.0))


def _factors(rr: Array, buckets: int) -> Array:
    """Common factors of the noise: eigenvalues beyond what independent noise shows (Marchenko and
    Pastur 1967), the rest of each name's variance its own."""
    n = len(rr)
    size = np.sqrt(np.diagonal(rr))
    inverse = np.divide(1.0, size, out=np.zeros(n), where=size > 0)
    values, vectors = np.linalg.eigh(rr * np.outer(inverse, inverse))
    common = values > (1 + np.sqrt(n / max(buckets, 1))) ** 2
    factors = (vectors[:, common] * (values[common] - 1)) @ vectors[:, common].T
    communality = np.minimum(np.diagonal(factors), MAX_COMMUNALITY)
    shrink = np.sqrt(communality / np.maximum(np.diagonal(factors), 1e-300))
    factors = factors * np.outer(shrink, shrink)
    np.fill_diagonal(factors, 1.0)
    return np.asarray(factors)


def conditional(design: Design, gradient: Array) -> Equations:
    """Equations of each name's move given what the model leaves of the others' moves.

    With noise that has common factors, the part of a name's noise its peers show can be taken off
    before its row is read: generalised least squares (Zellner 1962), one step from `gradient`.

    Parameters
    ----------
    design
        With `factors`, the noise correlation C; ``W = C^-1``.
    gradient
        ``X'E`` of the present fit's residuals, row k for name k, unweighted, shape (n, n).
    """
    e = design.equations
    precision = np.linalg.inv(design.factors)
    known = e.weight > 0
    sd = np.where(known, 1 / np.sqrt(np.where(known, e.weight, 1.0)), 0.0)
    lean = precision / np.diagonal(precision)[:, None]
    np.fill_diagonal(lean, 0.0)
    lean = lean * np.where(known, np.sqrt(e.weight), 0.0)[None, :] * sd[:, None]
    own = np.diagonal(e.gram)
    shift = lean @ gradient
    at = np.einsum("ik,ki->i", lean, gradient)  # what the others' residuals say of x_i itself
    shift -= np.divide(at, own, out=np.zeros_like(own), where=own > 0)[:, None] * e.gram
    np.fill_diagonal(shift, 0.0)
    return replace(e, xy=e.xy + shift, weight=e.weight * np.diagonal(precision))
