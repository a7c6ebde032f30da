"""Numbers of one list of symbols on another: which places they share, and arrays moved there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossimpact.model import Array

Index = NDArray[np.intp]


@dataclass(frozen=True)
class Alignment:
    """From one list of symbols to another, each without repetition.

    Attributes
    ----------
    source, target
        Places of the shared symbols in the old list and in the new, in the new one's order.
    size
        Length of the new list.
    """

    source: Index
    target: Index
    size: int

    @classmethod
    def between(cls, old: Sequence[str], new: Sequence[str]) -> Alignment:
        at = {symbol: place for place, symbol in enumerate(old)}
        target = [place for place, symbol in enumerate(new) if symbol in at]
        source = [at[new[place]] for place in target]
        return cls(np.array(source, dtype=np.intp), np.array(target, dtype=np.intp), len(new))

    def __call__(self, values: Array, axes: Sequence[int] = (-1,), missing: float = 0.0) -> Array:
        """`values` with `axes` on the new list; `missing` where the old one has no such symbol."""
        named = {axis % values.ndim for axis in axes}
        sizes = [self.size if k in named else size for k, size in enumerate(values.shape)]
        moved = np.full(sizes, missing)
        everything = [np.arange(size) for size in values.shape]
        into = np.ix_(*(self.target if k in named else all_ for k, all_ in enumerate(everything)))
        take = np.ix_(*(self.source if k in named else all_ for k, all_ in enumerate(everything)))
        moved[into] = values[take]
        return moved
