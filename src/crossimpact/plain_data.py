"""A model's numbers as plain data, and one spelling of it: equal values have equal bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from crossimpact.scaled import Array


def canonical_json(data: Any) -> bytes:
    """One byte string per value: sorted keys, no spaces, shortest round-trip floats, no NaN."""
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True
    ).encode()


def dense(index: tuple[Array, Array], cells: Mapping[str, Any], n: int) -> Sequence[Array]:
    """gamma, its standard errors and its frequencies, each (n, n) and none writeable.

    One piece of memory, which the system hands out much faster than three.
    """
    if not index[0].size:
        return np.zeros((n, n)), np.empty(0), np.empty(0)
    dense = np.empty((3, n, n))
    dense[0], dense[1:] = 0.0, np.nan
    for matrix, name in zip(dense, ("bps", "se", "frequency"), strict=True):
        if name in cells:
            matrix[index] = nan_null(cells[name])
    dense.setflags(write=False)
    return list(dense)


def null_nan(values: Array) -> list[float | None]:
    """NaN as null."""
    return [None if value != value else value for value in values.tolist()]  # NaN is not itself


def nan_null(values: ArrayLike) -> Array:
    """Null as NaN."""
    return np.array(values, dtype=float)  # None becomes NaN
