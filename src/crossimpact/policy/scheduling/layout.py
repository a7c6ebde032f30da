"""What of a desk's program stays while prices, fills, alpha and quantities move.

It depends on the model, whose lines there are, their sides and deadlines, and on volatility where
risk is charged: kernels over the horizon, where leftovers go, and the quadratic part. Kept between
plans it gives the same numbers as made anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crossimpact.kernel.decay import Decay
from crossimpact.model import ImpactModel
from crossimpact.policy.scheduling.couplings import Couplings
from crossimpact.policy.scheduling.desk import Desk, Flags, Index
from crossimpact.policy.scheduling.matrices import Matrices
from crossimpact.policy.state import Risk
from crossimpact.scaled import BPS, Array


@dataclass(frozen=True, eq=False)
class Layout:
    """Lines under a linear model of the names of their market, in the market's order.

    Attributes
    ----------
    name, sign, intervals
        As of `Lines`, shape (P,).
    sector, volatility
        Of each line, volatility as a fraction of an interval, 0 where risk costs nothing, shape
        (P,).
    """

    model: ImpactModel
    couplings: Couplings
    horizon: int
    risk: Risk
    name: Index
    sign: Array
    intervals: Index
    sector: Index
    volatility: Array
    _matrices: dict[bytes, Matrices] = field(default_factory=dict)

    @classmethod
    def of(cls, desk: Desk, model: ImpactModel, couplings: Couplings) -> Layout:
        lines, market, state = desk.lines, desk.market, desk.state
        volatility = market.volatility[lines.name] * (state.risk.aversion > 0)
        sector = market.by_sector[1][lines.name]
        return cls(
            model, couplings, state.horizon, state.risk, lines.name, lines.sign, lines.intervals,
            sector, volatility,
        )  # fmt: skip

    def fits(self, other: Layout) -> bool:
        """Whether nothing differs, of one model and one list of names."""
        mine, yours = (
            (each.name, each.sign, each.intervals, each.volatility) for each in (self, other)
        )
        return (self.horizon, self.risk) == (other.horizon, other.risk) and all(
            np.array_equal(a, b) for a, b in zip(mine, yours, strict=True)
        )

    def matrices(self, free: Flags) -> Matrices:
        """The quadratic part over the flows that are free, shape (P, H); the last one is kept."""
        key = free.tobytes()
        if key not in self._matrices:
            self._matrices.clear()
            self._matrices[key] = Matrices(self, free)
        return self._matrices[key]

    # -- units ---------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """Lines and intervals."""
        return len(self.name), self.horizon

    @cached_property
    def unit(self) -> Array:
        """USD per scaled unit of each name (`ImpactModel.scaled`), shape (n,)."""
        return np.sqrt(self.model.adv / BPS)

    @cached_property
    def signed(self) -> Array:
        """Scaled units of its name per USD of a line, signed, shape (P,)."""
        return np.asarray(self.sign / self.unit[self.name])

    @cached_property
    def one_a_name(self) -> bool:
        """Whether no name has several lines."""
        return len(np.unique(self.name)) == len(self.name)

    def by_name(self, per_line: Array) -> Array:
        """Sums over the lines of each name, shape (n, ...)."""
        result = np.zeros((self.model.n, *per_line.shape[1:]))
        if self.one_a_name:
            result[self.name] = per_line
        else:
            np.add.at(result, self.name, per_line)
        return result

    # -- kernels -------------------------------------------------------------------------------

    @cached_property
    def own_kernel(self) -> Array:
        """What a unit of own impact costs between two intervals of a path, symmetric, shape
        (H + 1, H + 1)."""
        return self._over_time(self.scales[0])

    @cached_property
    def cross_kernel(self) -> Array:
        """The same of the others' impact."""
        return self._over_time(self.scales[1])

    @cached_property
    def scales(self) -> tuple[float, float]:
        """Of what is carried, of own and of cross impact."""
        kernel = self.model.kernel
        return (kernel.scale_self, kernel.scale_cross) if kernel else (0.0, 0.0)

    def _over_time(self, scale: float) -> Array:
        steps = np.arange(self.horizon + 1)
        apart = np.abs(np.subtract.outer(steps, steps))
        result = scale / 2 * self._carried(apart - 1)
        np.fill_diagonal(result, 1.0)
        return result

    def _carried(self, buckets: Array | Index) -> Array:
        """``g`` after so many whole buckets between two; 0 without a kernel."""
        if self.model.kernel is None:
            return np.zeros(np.shape(buckets))
        return self.model.kernel.value(np.maximum(buckets, 0) * self.model.kernel.bucket_min)

    def left_of(self, fills: tuple[Index, Array, Array], kernel: Decay) -> Array:
        """Flow of the past, scaled, as far as it is felt at the start of each interval of a path,
        shape (n, H + 1)."""
        at, age, usd = fills
        steps = kernel.bucket_min * np.arange(self.horizon + 1)
        felt = (usd / self.unit[at])[:, None] * kernel.value(age[:, None] + steps)
        return np.stack([np.bincount(at, part, minlength=self.model.n) for part in felt.T], axis=1)

    # -- paths: flows, and leftovers in the interval after their deadline -----------------------

    @cached_property
    def due(self) -> Flags:
        """Whose deadline lies within the horizon, shape (P,)."""
        return np.asarray(self.intervals <= self.horizon)

    @cached_property
    def _after(self) -> tuple[Index, Index]:
        """The lines that are due, and their intervals after the deadline."""
        lines = np.flatnonzero(self.due)
        return lines, self.intervals[lines]

    def path(self, u: Array, remaining: Array) -> Array:
        """Flows by line and what they leave of it, shape (P, H + 1)."""
        result = np.zeros((len(u), u.shape[1] + 1))
        result[:, :-1] = u
        left = remaining - u.sum(axis=1)
        result[self._after] = left[self._after[0]]
        return result

    def pulled(self, slope: Array) -> Array:
        """What a slope along a path, shape (P, H + 1), is to the flows, shape (P, H)."""
        at = np.zeros(len(slope))
        at[self._after[0]] = slope[self._after]
        return np.asarray(slope[:, :-1] - at[:, None])

    def path_slope(self, paths: Array) -> Array:
        """Gradient of the path cost without its linear part, by line, shape (P, H)."""
        x = self.by_name(self.signed[:, None] * paths)
        return self.pulled(2 * self.impact(x)[self.name] * self.signed[:, None])

    def impact(self, scaled: Array) -> Array:
        """Half the gradient of a path's own and cross cost, scaled units, shape (n, H + 1)."""
        own = (self.couplings.own * scaled.T).T @ self.own_kernel
        return np.asarray(own + self.couplings.times(scaled) @ self.cross_kernel)

    # -- what lies outside of the horizon ------------------------------------------------------

    @cached_property
    def to_go(self) -> Index:
        """Intervals of a line after the horizon, shape (P,)."""
        return np.maximum(self.intervals - self.horizon, 0)

    @cached_property
    def _longest(self) -> int:
        return int(self.to_go.max(initial=0))

    @cached_property
    def _cumulated(self) -> Array:
        """``sum of g`` over the first k buckets, k = 0 .. H + the most to go."""
        g = self._carried(np.arange(self.horizon + self._longest))
        return np.append(0.0, np.cumsum(g))

    @cached_property
    def between(self) -> Array:
        """Carried among a line's m even buckets to go, ``sum_{0 < l < m} (m - l) g(l - 1)``, shape
        (P,)."""
        return np.append(0.0, np.cumsum(self._cumulated[: self._longest + 1]))[self.to_go]

    @cached_property
    def curvature(self) -> Array:
        """Of each later leftover: J holds it times the leftover squared, shape (P,); 0 where it is
        part of the path. Spread evenly it costs ``(m + carried) / m^2`` of what one bucket would.
        """
        own, m = self.couplings.own[self.name] * self.signed**2, np.maximum(self.to_go, 1)
        evenly = (m + self.scales[0] * self.between) / m**2
        return np.asarray(np.where(self.due, 0.0, own * evenly))

    @cached_property
    def carried_on(self) -> Array:
        """Carried from each interval of the horizon to all later ones of a line, shape (P, H)."""
        before = (self.horizon - 1 - np.arange(self.horizon))[None, :]
        after = before + self.to_go[:, None]
        return np.asarray(self._cumulated[after] - self._cumulated[before])

    @cached_property
    def linear(self) -> Array:
        """Spread-like cost, USD per USD, shape (P,)."""
        return np.asarray(BPS * self.model.alpha[self.name])

    # -- risk ----------------------------------------------------------------------------------

    @cached_property
    def alone(self) -> float:
        """The share of variance that is a name's own."""
        return max(0.0, 1 - self.risk.market - self.risk.sector)

    def exposed(self, position: Array) -> Array:
        """``V R`` by line for positions >= 0 by line, shape (P, H)."""
        volatility = (self.sign * self.volatility)[:, None]
        size = volatility * position
        sums = np.zeros((int(self.sector.max(initial=0)) + 1, size.shape[1]))
        np.add.at(sums, self.sector, size)
        common = self.risk.market * size.sum(axis=0) + self.risk.sector * sums[self.sector]
        own = self.by_name(size)[self.name]
        return np.asarray(volatility * (common + self.alone * own))


@dataclass
class Layouts:
    """The last layout, kept as long as it fits."""

    _last: Layout | None = None

    def of(self, desk: Desk, model: ImpactModel, couplings: Couplings) -> Layout:
        new = Layout.of(desk, model, couplings)
        last = self._last
        same = last is not None and last.model is model and last.couplings is new.couplings
        if last is None or not (same and last.fits(new)):
            self._last = last = new
        return last
