"""How much of an order's cost is noise: its exposure to each bucket's move, times what names do.

An order's fills are exposed to every move of the mid between its arrival and themselves. What the
release and the market do not explain of a name's moves has a variance a bucket, so the residual of
an order, or of many together, has a standard deviation to be held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from crossimpact.model import Array
from crossimpact.tca import Exposure
from pipelines.tca_day import Causes, Day, Index


@dataclass(frozen=True)
class Exposures:
    """Of each order to its name's mid: rows of order x bucket, signed USD per bps.

    Attributes
    ----------
    orders
        Ids, length O.
    row, t, i
        Place of the order, bucket and name of each weight.
    start, end
        As in `crossimpact.tca.Exposure`.
    """

    orders: NDArray[np.object_]
    row: Index
    t: Index
    i: Index
    start: Array
    end: Array

    @classmethod
    def of(cls, day: Day, rows: pa.Table) -> Exposures:
        """From the rows of `tca_exposure`."""
        inside, t, i = day.places(rows)
        rows = rows.filter(pa.array(inside))
        ids = rows["order_id"].to_numpy(zero_copy_only=False).astype(object)
        orders, row = np.unique(ids, return_inverse=True)
        start, end = (rows[name].to_numpy() for name in ("start_usd", "end_usd"))
        return cls(orders, row, t, i, start, end)

    def by_name(self, day: Day) -> Exposure:
        """Of all orders together, by name."""
        start, end = np.zeros_like(day.q), np.zeros_like(day.q)
        np.add.at(start, (self.t, self.i), self.start)
        np.add.at(end, (self.t, self.i), self.end)
        return Exposure(start, end)

    def sd(self, day: Day, found: Causes, groups: Sequence[str]) -> dict[str, float]:
        """Standard deviation of the residual of each group of orders, USD; NaN where unknown.

        Orders in a name share its noise, names do not: the market is taken out.

        Parameters
        ----------
        groups
            Label of each of `orders`.
        """
        labels, group = np.unique(np.array(groups, dtype=object), return_inverse=True)
        keys, cell = np.unique(group[self.row] * len(day.symbols) + self.i, return_inverse=True)
        start, end = (np.zeros((len(keys), len(day.moments))) for _ in range(2))
        np.add.at(start, (cell, self.t), self.start)
        np.add.at(end, (cell, self.t), self.end)
        # a bucket's move is in every level from its own end on
        later = np.cumsum((start + end)[:, ::-1], axis=1)[:, ::-1] - start
        variance = (later**2).sum(axis=1) * found.variance[keys % len(day.symbols)]
        total = np.bincount(keys // len(day.symbols), variance, len(labels))
        return dict(zip(labels.tolist(), np.sqrt(total).tolist(), strict=True))
