"""A model's coupled pairs as bytes: a `.npy` table of numbers that holds no objects.

Equal couplings, equal bytes: rows in order, none twice, none zero, the header numpy writes.
"""

from __future__ import annotations

import io
from functools import lru_cache
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
    return _header(len(table)) + table.tobytes()


def unpack(content: bytes | None, n: int) -> dict[str, NDArray[Any]]:
    """The columns of `PAIR` for `n` names, as `ImpactModel.from_dict` takes them.

    Raises
    ------
    ModelError
        When the bytes are not exactly what `pack` would write for these numbers.
    """
    table = np.empty(0, dtype=PAIR)
    if content is not None:
        start = 10 + int.from_bytes(content[8:10], "little")  # of the numbers, after the header
        table = np.frombuffer(content, dtype=PAIR, offset=start)
        place = table["i"].astype(np.int64) * n + table["j"]
        ordered = (np.diff(place) > 0).all() and table["bps"].all()
        if not (len(table) and ordered and content[:start] == _header(len(table))):
            raise ModelError("the couplings are not in canonical form: another header or order")
    return {name: table[name] for name in PAIR.names or ()}


@lru_cache(64)
def _header(count: int) -> bytes:
    """The only header that is read: a table of `count` pairs. There is no parser for others."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer,
        {"descr": np.lib.format.dtype_to_descr(PAIR), "fortran_order": False, "shape": (count,)},
    )
    return buffer.getvalue()
