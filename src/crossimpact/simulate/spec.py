"""Size, calendar and grid of a demo desk."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossimpact.errors import UsageError
from crossimpact.kernel.decay import Decay

Ints = NDArray[np.int64]
Times = NDArray[np.datetime64]

SECOND = 1_000_000  # microseconds
SESSION_OPEN_S = (14 * 60 + 30) * 60
SESSION_S = 23400
MAX_SYMBOLS = 500
TICK = 0.01
#: How the demo's impact decays: half of what does not stay is gone after so many minutes.
DEMO_HALF_LIFE_MIN, DEMO_PERMANENT = 30.0, 0.3


@dataclass(frozen=True)
class DeskSpec:
    """Size and character of a demo desk.

    Parameters
    ----------
    symbols
        Number of names, 1 to 500.
    days
        Trading days (weekdays), at least 1.
    seed
        Non-negative; equal specs give equal bytes.
    snapshot_s, bucket_s
        Seconds between snapshots, and of a bucket; the first divides the second, the second
        divides the session of 23400 s.
    first_date
        First trading day, YYYY-MM-DD; a weekend rolls forward.
    sectors
        Number of sectors; default one per five names.
    stressed
        False: no bucket is ever stressed.
    noise_scale
        Multiplies all price noise; 1 is about 9 bps per bucket in the normal regime.
    fade, fade_days
        In the last so many days cross impact is `fade` times what is planted, 0 to 1: a market that
        moves away from its model.
    fill_ratio
        What fills pay on average of what the mid keeps at their bucket's end, 0.5 to 0.95: a push
        builds up through the bucket while its fills are spread over it. Planted beta and gamma are
        what fills pay.
    half_life_min, permanent
        In how many minutes impact that does not stay halves once its bucket has ended, > 0, and the
        share that stays, 0 to 1; None: all of it stays.
    overnight
        Share of a session's last transient impact with which the next one begins, 0 to 1.

    Raises
    ------
    UsageError
        On a value outside these bounds.
    """

    symbols: int = 20
    days: int = 20
    seed: int = 7
    snapshot_s: int = 5
    bucket_s: int = 300
    first_date: str = "2026-03-02"
    sectors: int | None = None
    stressed: bool = True
    noise_scale: float = 1.0
    fade: float = 1.0
    fade_days: int = 0
    fill_ratio: float = 0.6
    half_life_min: float | None = None
    permanent: float = 0.0
    overnight: float = 0.0

    def __post_init__(self) -> None:
        snapshot, bucket = self.snapshot_s, self.bucket_s
        checks = {
            f"symbols is {self.symbols}, must be 1 to {MAX_SYMBOLS}": (
                1 <= self.symbols <= MAX_SYMBOLS
            ),
            f"days is {self.days}, must be at least 1": self.days >= 1,
            f"seed is {self.seed}, must be at least 0": self.seed >= 0,
            f"sectors is {self.sectors}, must be 1 to symbols": (
                self.sectors is None or 1 <= self.sectors <= self.symbols
            ),
            f"noise_scale is {self.noise_scale}, must be at least 0": self.noise_scale >= 0,
            f"fade is {self.fade}, must be 0 to 1": 0 <= self.fade <= 1,
            f"fade_days is {self.fade_days}, must be 0 to {self.days}": (
                0 <= self.fade_days <= self.days
            ),
            f"fill_ratio is {self.fill_ratio}, must be 0.5 to 0.95": (
                0.5 <= self.fill_ratio <= 0.95
            ),
            f"half_life_min is {self.half_life_min}, must be > 0": (
                self.half_life_min is None or self.half_life_min > 0
            ),
            f"permanent is {self.permanent}, must be 0 to 1": 0 <= self.permanent <= 1,
            f"overnight is {self.overnight}, must be 0 to 1": 0 <= self.overnight <= 1,
            f"a bucket of {bucket} s must divide the session of {SESSION_S} s": (
                0 < bucket <= SESSION_S and SESSION_S % bucket == 0
            ),
            f"a snapshot every {snapshot} s must divide the bucket of {bucket} s": (
                snapshot > 0 and bucket % snapshot == 0
            ),
        }
        for what, good in checks.items():
            if not good:
                raise UsageError(f"demo desk: {what}")
        try:
            np.datetime64(self.first_date, "D")
        except ValueError as error:
            raise UsageError(
                f"demo desk: first_date {self.first_date!r} is no date", "write it like 2026-03-02"
            ) from error

    @property
    def buckets(self) -> int:
        """Buckets in a session."""
        return SESSION_S // self.bucket_s

    @property
    def steps(self) -> int:
        """Snapshot intervals in a bucket."""
        return self.bucket_s // self.snapshot_s

    @property
    def kernel(self) -> Decay:
        """The planted decay."""
        return Decay.from_half_life(
            math.inf if self.half_life_min is None else self.half_life_min,
            self.permanent,
            scale_self=1 / self.fill_ratio,
            scale_cross=1 / self.fill_ratio,
            bucket_min=self.bucket_s / 60,
            overnight=self.overnight,
        )

    @property
    def dates(self) -> tuple[str, ...]:
        """Trading dates, ascending."""
        first = np.datetime64(self.first_date, "D")
        days = np.busday_offset(first, np.arange(self.days), roll="forward")
        return tuple(str(day) for day in days)

    @staticmethod
    def first_date_before(today: str, days: int) -> str:
        """First of the `days` weekdays that end with the last one before `today`, YYYY-MM-DD."""
        last = np.busday_offset(np.datetime64(today, "D"), -1, roll="forward")
        return str(np.busday_offset(last, 1 - days))

    @property
    def margin_us(self) -> int:
        """Windows open and close, and fills keep away from bucket edges, within this margin."""
        return int(SECOND * min(2.0, self.bucket_s / 10))

    def open_ts(self, day: int) -> np.datetime64:
        """Session open of a day, UTC."""
        return np.datetime64(self.dates[day], "us") + np.timedelta64(SESSION_OPEN_S, "s")

    def stream(self, *key: int) -> np.random.Generator:
        """The independent random stream of a part of the desk."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
