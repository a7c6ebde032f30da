"""The standard deviation of a residual, and how orders' costs spread."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from crossimpact.tca import predict
from pipelines.tca_day import Causes, Day
from pipelines.tca_noise import Exposures
from pipelines.tca_scopes import spread
from tests.pipelines.tca_desk import OPEN

T, NAMES = 6, ("AAA", "BBB")


def day() -> Day:
    zero = np.zeros((T, len(NAMES)))
    moments = tuple(OPEN + timedelta(seconds=300 * t) for t in range(T))
    one = np.ones(len(NAMES))
    return Day(
        moments, ("normal",) * T, NAMES, zero, one, one, zero, zero, zero, pa.table({"ts": []})
    )


def test_a_residual_varies_by_every_move_its_order_is_exposed_to() -> None:
    """Against the definition: a unit move of one bucket, by the levels at both its ends."""
    rng = np.random.default_rng(3)
    here = day()
    rows = [
        (order, NAMES[n], t, *rng.normal(size=2))
        for order, n in (("o1", 0), ("o2", 0), ("o3", 1))
        for t in rng.choice(T, 3, replace=False)
    ]
    table = pa.table(
        {
            "order_id": [r[0] for r in rows],
            "symbol": [r[1] for r in rows],
            "ts": pa.array([here.moments[r[2]] for r in rows], pa.timestamp("us", "UTC")),
            "start_usd": [r[3] for r in rows],
            "end_usd": [r[4] for r in rows],
        }
    )
    variance = np.array([4.0, 9.0])
    none = predict({}, here.regimes, here.q, NAMES)
    found = Causes(none, here.q, here.q, variance)
    exposures = Exposures.of(here, table)

    def cost(orders: set[str], name: str, moved: int) -> float:
        level = np.concatenate(([0.0], np.cumsum(np.arange(T) == moved)))
        return sum(
            s * level[t] + e * level[t + 1]
            for o, symbol, t, s, e in rows
            if o in orders and symbol == name
        )

    for groups in ({"a": {"o1"}, "b": {"o2", "o3"}}, {"all": {"o1", "o2", "o3"}}):
        label = {order: name for name, orders in groups.items() for order in orders}
        sd = exposures.sd(here, found, [label[order] for order in exposures.orders])
        for name, orders in groups.items():
            expected = sum(
                v * cost(orders, symbol, b) ** 2
                for symbol, v in zip(NAMES, variance, strict=True)
                for b in range(T)
            )
            assert sd[name] == pytest.approx(expected**0.5)


def test_bootstrap_intervals_cover_the_quantiles_and_repeat_to_the_bit() -> None:
    rng = np.random.default_rng(4)
    truth = {"p50": 0.0, "p90": 1.2816, "p95": 1.6449}
    told = [spread(rng.normal(size=400), interval=True) for _ in range(40)]
    for name, value in truth.items():
        covered = [t[f"{name}_low_bps"] <= value <= t[f"{name}_high_bps"] for t in told]
        assert np.mean(covered) >= 0.85, name
    costs = rng.normal(size=50)
    assert spread(costs, interval=True) == spread(costs[::-1], interval=True)
    assert spread(costs[:5], interval=True)["p90_low_bps"] is None
