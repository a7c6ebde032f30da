"""A model's coupled pairs as bytes: a `.npy` table of numbers that holds no objects.

Equal couplings, equal bytes: rows in order, none twice, none zero, the header numpy writes.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossimpact.errors import ModelError
from crossimpact.model import ImpactModel

#: A coupled pair: row and column, gamma in bps, its standard error, how often it was selected.
PAIR = np.dtype([("i", "<i4"), ("j", "<i4"), ("bps", "<f8"), ("se", "<f8"), ("frequency", "<f8")])


def pack(model: ImpactModel) -> bytes | None:
    """The bytes of the model's pairs, None when it couples nothing."""
    cells = model.pairs()
    if not len(cells["i"]):
        return None
    table = np.empty(len(cells["i"]), dtype=PAIR)
    for column in PAIR.names or ():
        table[column] = cells[column]
    return _npy(table)


def unpack(content: bytes | None, n: int) -> dict[str, NDArray[Any]]:
    """The columns of `PAIR` for `n` names, as `ImpactModel.from_dict` takes them.

    Raises
    ------
    ModelError
        When the bytes are not exactly what `pack` would write for these numbers.
    """
    table = np.empty(0, dtype=PAIR)
    if content is not None:
        table = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
        if table.dtype != PAIR or table.ndim != 1 or not len(table):
            raise ModelError(f"the couplings are a table of {table.dtype}, not {PAIR}")
        place = table["i"].astype(np.int64) * n + table["j"]
        if not ((np.diff(place) > 0).all() and table["bps"].all() and _npy(table) == content):
            raise ModelError("the couplings are not in canonical form: unordered, zero or padded")
    return {name: table[name] for name in PAIR.names or ()}


def _npy(table: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, table, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()
