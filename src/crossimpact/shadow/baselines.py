"""Schedules that need no model: an even pace, and one with the market's volume.

Both keep to the window and to a share of the market's volume; what does not fit is not filled.
"""

from __future__ import annotations

import numpy as np

from crossimpact.scaled import Array
from crossimpact.shadow.day import Day, Schedule


def twap(day: Day, pov: float) -> Schedule:
    """An even pace over each window."""
    return _paced(day, day.overlap, pov)


def vwap(day: Day, pov: float) -> Schedule:
    """The pace of the day's own volume, which nobody knows beforehand: no policy has it easier."""
    return _paced(day, day.overlap * day.volume.T[day.orders.name], pov)


def within_volume(day: Day, bucket: int, wanted: Array, pov: float) -> Array:
    """What fills in a bucket of what is wanted, signed shares, shape (P,): of each order's share of
    the bucket, and of a name's orders together, at most `pov` of the market's volume."""
    name = day.orders.name
    room = pov * day.volume[bucket] / day.mid[bucket]
    most = room[name] * day.overlap[:, bucket]
    asked = np.minimum(np.abs(wanted), most)
    together = np.bincount(name, asked, minlength=len(room))
    share = np.minimum(1.0, np.divide(room, together, out=np.ones_like(room), where=together > 0))
    return np.asarray(np.sign(wanted) * asked * share[name])


def _paced(day: Day, weight: Array, pov: float) -> Schedule:
    """What is behind its pace is caught up within the cap."""
    done = np.cumsum(weight, axis=1)
    due = day.orders.quantity[:, None] * np.divide(
        done, done[:, -1:], out=np.zeros_like(done), where=done[:, -1:] > 0
    )
    shares = np.zeros_like(weight)
    filled = np.zeros(len(day.orders))
    for bucket in range(day.shape[0]):
        shares[:, bucket] = within_volume(day, bucket, due[:, bucket] - filled, pov)
        filled += shares[:, bucket]
    return Schedule(shares, np.zeros_like(shares))
