"""One day happens: orders are worked, flow moves quotes, fills are struck from the moved quotes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossimpact import contract
from crossimpact.model import BPS, Array
from crossimpact.simulate import desk, tape
from crossimpact.simulate.columns import Tables
from crossimpact.simulate.market import Truth
from crossimpact.simulate.orders import plan_orders
from crossimpact.simulate.prices import log_path, quote


def simulate_day(truth: Truth, day: int) -> Tables:
    """Let one trading day happen.

    Parameters
    ----------
    truth
        From `plan_market`.
    day
        0 to ``spec.days - 1``; days are independent of each other and may be run in any order.

    Returns
    -------
    Tables
        Every table of the contract with its columns in order, free of broken rows.
    """
    rng = truth.spec.stream(3, day)
    plan = plan_orders(truth, day, rng)
    path = log_path(truth, day, plan, _left_overnight(truth, day), rng)
    quotes = quote(truth, day, truth.open_px[day] * np.exp(BPS * path.mids), rng)
    orders = desk.parent_orders(truth, day, plan, quotes, rng)
    fills = desk.child_fills(truth, day, plan, orders, quotes, rng)
    tables: Tables = {
        "instruments": tape.instruments(truth, rng),
        "parent_orders": orders,
        "child_fills": fills,
        "market_snapshots": tape.snapshots(truth, day, quotes, rng),
        "benchmark_marks": desk.marks(orders, plan.parents.symbol, quotes),
        "peer_flow": tape.peer_flow(truth, day, plan.peers),
        "public_trades": tape.prints(truth, day, fills, plan.peers, path.moves, quotes, rng),
    }
    return {
        name: {
            c.name: _as_declared(c, tables[name][c.name])
            for c in table.columns
            if c.name in tables[name]
        }
        for name, table in contract.TABLES.items()
    }


def _left_overnight(truth: Truth, day: int) -> Array:
    """What is left at the open of earlier days' pushes, bps, (terms, n): those days happen again,
    so that days may still be run in any order."""
    left = np.zeros((len(truth.spec.kernel.weights), truth.spec.symbols))
    for before in range(day if truth.spec.overnight else 0):
        rng = truth.spec.stream(3, before)
        path = log_path(truth, before, plan_orders(truth, before, rng), left, rng)
        left = truth.spec.overnight * path.left
    return left


def _as_declared(column: contract.Column, values: NDArray[Any]) -> NDArray[Any]:
    """The simulator counts whole lots; the contract's quantities are floats."""
    return values.astype(np.float64) if column.type == "f64" else values
