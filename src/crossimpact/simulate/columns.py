"""How a table is held: one array per column, in rows of equal length.

Text is an object array (None = null); NaN in a nullable column is null; times are datetime64[us],
UTC.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]
Tables = dict[str, Columns]


def text(*values: str | None) -> NDArray[Any]:
    """Values to index or repeat from."""
    return np.array(values, dtype=object)


def ids(prefix: str, number: NDArray[np.int64]) -> NDArray[Any]:
    """`prefix` and five digits."""
    return text(*(f"{prefix}{k:05d}" for k in number.tolist()))
