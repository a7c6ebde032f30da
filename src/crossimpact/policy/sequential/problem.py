"""What is to be scheduled: orders in sequence, the kernel, and the prices they are held against.

Order j (0 .. N-1) is worked over ``(T_j, T_{j+1})`` and may trade a block at either end. At an
inner boundary order j-1's last block comes first, then the price is struck, then order j's first.
With ``m_k`` the price move at T_k when it is struck, a schedule X costs

    cost = full - sum_{k=1}^{N-1} c_k . m_k + spread . sum |dX|,
    full = 1/2 iint dX(t)' K g(|t-s|) dX(s),        c_k = sum_{j >= k} B[j, k],

``B[j, k]`` being the part of order j held against the price at T_k (Bordigoni, Figalli, Ledford and
Ustinov 2022). Held against its own arrival price, every order looks cheap (``ttsc``: total of the
separate costs); held against the price when it became known, it is priced for what it is
(``tthc``: the part known at 0 against the price at 0, an amendment against the price at its start).
The volumes are fixed, so the benchmark term is linear and the problem convex whatever B is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from crossimpact.errors import Inadmissible, ProblemError
from crossimpact.model import Array
from crossimpact.policy.sequential.benchmark import amended as amended
from crossimpact.policy.sequential.benchmark import at_arrival as at_arrival
from crossimpact.policy.sequential.benchmark import at_start as at_start
from crossimpact.policy.sequential.benchmark import struck as struck
from crossimpact.policy.sequential.kernel import Kernel
from crossimpact.policy.sequential.limits import Limits, broadcast, column, numbers
from crossimpact.policy.sequential.risk import Risk

#: A benchmark's rows that miss their volume, and a mean its law's, by less than this share of the
#: largest volume are rounding.
TOLERANCE = 1e-9
#: Powers of ten a cost may reach, up or down, before floating point gives out.
POWERS = 280


@dataclass(frozen=True)
class Problem:
    """N orders in sequence of M assets, their kernel and their benchmark.

    Parameters
    ----------
    times
        Boundaries, increasing, shape (N+1,).
    volumes
        Signed volume per order, buys positive, shape (N,) or (N, M).
    kernel
        Decay of impact, `kernel.K` of shape (M, M).
    benchmark
        ``B[j, k]``, the part of order j that is held against the price struck at ``times[k]``,
        zero for k > j, rows summing to the volumes; shape (N, N) or (N, N, M).
    parts
        Like `benchmark`: what became known when, which is what `tthc` prices by. Default: all of
        it at ``times[0]``.
    monotone
        Every order trades in its own direction only.
    limits
        Practical limits.
    risk
        What the variance of what is struck and not yet traded is charged; default: nothing.
    discretion
        Share of each order, 0 to 1, that may trade before its own period, as soon as it is known
        (`parts`): a number for all later orders, or shape (N,). Default 0.

    Raises
    ------
    ProblemError
        On a wrong shape, NaN, boundaries that do not increase, rows that miss their volume, a
        benchmark that is struck after the order starts, an unusable kernel, or limits that leave no
        schedule: with the number and its limit.
    """

    times: Array
    volumes: Array
    kernel: Kernel
    benchmark: Array
    parts: Array = field(default_factory=lambda: np.empty(0))
    monotone: bool = True
    limits: Limits = field(default_factory=Limits)
    risk: Risk | None = None
    discretion: ArrayLike = 0.0

    def __post_init__(self) -> None:
        volumes = numbers("volumes", self.volumes)
        volumes = volumes[:, None] if volumes.ndim == 1 else volumes
        self._set("times", numbers("times", self.times))
        self._set("volumes", volumes)
        self._check_sizes()
        known = self.parts if np.size(self.parts) else at_start(volumes)
        self._set("benchmark", self._struck("benchmark", self.benchmark))
        self._set("parts", self._struck("parts", known))
        self._set_limits()
        self._set_discretion()
        if self.limits.full_span and len(self.kernel.components) > 1:
            raise ProblemError(
                "full_span goes by the pace of an order alone, which one decay per asset has not",
                "drop full_span, or give one rho",
            )
        if self.risk is not None and len(self.risk.covariance) != self.assets:
            size = len(self.risk.covariance)
            raise ProblemError(f"risk.covariance is of {size} assets, volumes of {self.assets}")
        self.kernel.check(float(self.times[-1] - self.times[0]))

    def _set(self, name: str, value: Array) -> None:
        value.setflags(write=False)
        object.__setattr__(self, name, value)

    def _check_sizes(self) -> None:
        times, volumes = self.times, self.volumes
        if volumes.ndim != 2 or not volumes.size:
            raise ProblemError(f"volumes have shape {volumes.shape}, must be (N,) or (N, M)")
        if times.shape != (len(volumes) + 1,):
            raise ProblemError(
                f"{times.size} times for {len(volumes)} orders", "N orders have N+1 boundaries"
            )
        short = np.diff(times) <= 0
        if short.any():
            j = int(np.argmax(short))
            raise ProblemError(
                f"order {j} runs from {times[j]:g} to {times[j + 1]:g}, a horizon of "
                f"{times[j + 1] - times[j]:g}, must be > 0",
                "boundaries increase; orders that overlap are not a sequence",
            )
        if volumes.shape[1] != self.kernel.assets:
            raise ProblemError(
                f"volumes of {volumes.shape[1]} assets, a kernel of {self.kernel.assets}"
            )
        volume, impact = np.abs(volumes).max(), np.abs(self.kernel.K).max()
        if volume and impact and abs(2 * np.log10(volume) + np.log10(impact)) > POWERS:
            raise ProblemError(
                f"volumes up to {volume:g} and an impact of {impact:g} per unit make costs beyond "
                f"1e-{POWERS} to 1e{POWERS}",
                "choose other units",
            )

    def _struck(self, name: str, given: ArrayLike) -> Array:
        value, (n, m) = numbers(name, given), self.volumes.shape
        value = value[:, :, None] if value.ndim == 2 else value
        if value.shape != (n, n, m):
            raise ProblemError(f"{name} has shape {value.shape}, must be {(n, n, m)}")
        late = np.argwhere(value * (np.arange(n)[None, :] > np.arange(n)[:, None])[:, :, None])
        if late.size:
            j, k, i = late[0]
            raise ProblemError(
                f"{name}[{j}][{k}] of asset {i} is {value[j, k, i]:g}, must be 0: "
                f"order {j} starts before times[{k}] is struck"
            )
        miss = np.abs(value.sum(axis=1) - self.volumes)
        limit = TOLERANCE * max(1e-300, np.abs(value).max(), np.abs(self.volumes).max())
        if miss.max() > limit:
            j, i = np.unravel_index(np.argmax(miss), miss.shape)
            raise ProblemError(
                f"row {j} of {name} sums to {value[j, :, i].sum():g} for asset {i}, its volume is "
                f"{self.volumes[j, i]:g}, apart by {miss[j, i]:.3g}, limit {limit:.3g}"
            )
        return value

    def _set_limits(self) -> None:
        (n, m), limits = self.volumes.shape, self.limits
        sizes = {"block_cap": (m,), "max_rate": (n, m), "spread": (m,)}
        given = {name: getattr(limits, name) for name in sizes}
        full: dict[str, Any] = {
            name: broadcast(name, value, sizes[name], zero=name == "spread")
            for name, value in given.items()
            if value is not None
        }
        if limits.dates is not None:
            full["dates"] = self._set_dates()
        object.__setattr__(self, "limits", replace(limits, **full))
        self._check_room()

    def _set_discretion(self) -> None:
        given = numbers("discretion", self.discretion)
        try:
            share = np.broadcast_to(given, (self.orders,)).copy()
        except ValueError as error:
            raise ProblemError(
                f"discretion has shape {given.shape}, must be a number or ({self.orders},)"
            ) from error
        if share.min() < 0 or share.max() > 1:
            worst = share[np.argmax(np.abs(share - 0.5))]
            raise ProblemError(f"discretion is {worst:g}, must be 0 to 1, a share of the order")
        share[0] = 0.0  # nothing comes before the first
        if share.any() and (self.limits.bind or not self.monotone):
            raise ProblemError(
                "discretion is for monotone orders without caps, dates or full span", "drop these"
            )
        self._set("discretion", share)

    def _set_dates(self) -> Array:
        """The dates as an array, each order having one; shape (D,)."""
        limits, times = self.limits, self.times
        dates = np.unique(numbers("dates", limits.dates))  # type: ignore[arg-type]
        beside = ("no_blocks", limits.no_blocks), ("full_span", limits.full_span)
        for name, given in (*beside, ("max_rate", limits.max_rate is not None)):
            if given:
                raise ProblemError(f"dates and {name} contradict each other", "give one")
        if not dates.size or dates[0] < times[0] or dates[-1] > times[-1]:
            raise ProblemError(
                f"dates run from {dates.min(initial=np.inf):g} to {dates.max(initial=-np.inf):g}, "
                f"the orders from {times[0]:g} to {times[-1]:g}"
            )
        for j in range(self.orders):
            if not ((dates >= times[j]) & (dates <= times[j + 1])).any():
                raise ProblemError(
                    f"order {j} has no date in its horizon ({times[j]:g}, {times[j + 1]:g})"
                )
        return dates

    def dates(self, order: int) -> Array:
        """Dates an order may trade at, under `Limits.dates`."""
        dates, (start, end) = np.asarray(self.limits.dates), self.times[order : order + 2]
        return np.asarray(dates[(dates >= start) & (dates <= end)])

    def _check_room(self) -> None:
        """Volume that fits under the caps, order by order."""
        limits, (n, m) = self.limits, self.volumes.shape
        cap = np.inf if limits.block_cap is None else np.asarray(limits.block_cap)
        rate = np.inf if limits.max_rate is None else np.asarray(limits.max_rate)
        blocks = np.zeros(m) if limits.no_blocks else 2 * cap
        if limits.dates is not None:
            counts = [len(self.dates(order)) for order in range(n)]
            blocks, rate = np.array(counts)[:, None] * np.broadcast_to(cap, (n, m)), np.zeros(m)
        room = np.broadcast_to(blocks + rate * np.diff(self.times)[:, None], (n, m))
        over = np.abs(self.volumes) > room * (1 + TOLERANCE)
        if over.any():
            j, i = np.argwhere(over)[0]
            raise Inadmissible(
                f"order {j} of asset {i} has volume {abs(self.volumes[j, i]):g}, its caps leave "
                f"room for {room[j, i]:g}",
                "raise the caps or lengthen the horizon",
            )

    @property
    def orders(self) -> int:
        return len(self.volumes)

    @property
    def assets(self) -> int:
        return int(self.volumes.shape[1])

    @cached_property
    def c(self) -> Array:
        """``c_k``, k = 1 .. N-1: held against the price struck at ``times[k]``, shape (N-1, M)."""
        return struck(self.benchmark)

    @cached_property
    def strikes(self) -> tuple[tuple[Array, Array], Array]:
        """Points at which prices are struck, and what is struck there, (N, M)."""
        return (self.times[:-1], self.times[:-1]), np.asarray(self.benchmark.sum(axis=0))

    def revised(self, volumes: ArrayLike) -> list[Problem]:
        """The problem once the last order turns out to be each of `volumes`, shape (L, M).

        The revision is nobody's prediction: it is held against the last order's own arrival price.
        """
        last = numbers("volumes", volumes).reshape(-1, self.assets)
        fields = {
            name: np.tile(getattr(self, name), (len(last),) + (1,) * getattr(self, name).ndim)
            for name in ("volumes", "benchmark", "parts")
        }
        for name in ("benchmark", "parts"):
            fields[name][:, -1, -1] += last - self.volumes[-1]
        fields["volumes"][:, -1] = last
        for value in fields.values():
            value.setflags(write=False)
        kept = {name: value for name, value in vars(self).items() if name not in ("c", "strikes")}
        result = []
        for each in zip(*fields.values(), strict=True):
            problem = object.__new__(Problem)
            problem.__dict__.update(kept, **dict(zip(fields, each, strict=True)))
            result.append(problem)
        for problem in result if self.limits.bind else ():
            problem._check_room()
        return result

    @property
    def scale(self) -> float:
        """Price move of the largest volume traded at once: the unit of residuals."""
        return float(np.abs(self.kernel.K).max() * np.abs(self.volumes).max()) or 1.0


def stsh(
    times: ArrayLike, volume: ArrayLike, kernel: Kernel, *, limits: Limits | None = None
) -> Problem:
    """A single order over a single horizon."""
    volumes = column(volume)
    if len(volumes) != 1:
        raise ProblemError(f"stsh schedules one order, not {len(volumes)}")
    times = np.asarray(times, dtype=np.float64)
    return Problem(times, volumes, kernel, at_start(volumes), limits=limits or Limits())


def ttsc(
    times: ArrayLike,
    volumes: ArrayLike,
    kernel: Kernel,
    *,
    parts: ArrayLike | None = None,
    monotone: bool = True,
    limits: Limits | None = None,
) -> Problem:
    """Total of the separate costs: every order is held against its own arrival price."""
    volumes, known = column(volumes), np.empty(0) if parts is None else np.asarray(parts, float)
    times = np.asarray(times, dtype=np.float64)
    limits = limits or Limits()
    return Problem(times, volumes, kernel, at_arrival(volumes), known, monotone, limits)


def tthc(
    times: ArrayLike,
    volumes: ArrayLike,
    kernel: Kernel,
    *,
    amend: ArrayLike | None = None,
    monotone: bool = True,
    limits: Limits | None = None,
) -> Problem:
    """Total of the hybrid costs: what was predicted against the price at ``times[0]``.

    `amend` (two orders) is the part of the second known only when it starts; default none.
    """
    volumes = column(volumes)
    if amend is not None and len(volumes) != 2:
        raise ProblemError(f"amend is for two orders, not {len(volumes)}", "give parts instead")
    known = at_start(volumes) if amend is None else amended(volumes, amend)
    return hybrid(times, volumes, kernel, known, monotone=monotone, limits=limits)


def hybrid(
    times: ArrayLike,
    volumes: ArrayLike,
    kernel: Kernel,
    benchmark: ArrayLike,
    *,
    monotone: bool = True,
    limits: Limits | None = None,
) -> Problem:
    """Any decomposition of the orders into parts by the time they became known."""
    known = np.asarray(benchmark, dtype=np.float64)
    times = np.asarray(times, dtype=np.float64)
    limits = limits or Limits()
    return Problem(times, column(volumes), kernel, known, known, monotone, limits)
