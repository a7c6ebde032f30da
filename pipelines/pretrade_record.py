"""Predictions of baskets as they are kept: `marts/pretrade`, by the date a basket starts on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from crossimpact.model import canonical_json
from crossimpact.release import ledger
from crossimpact.release.bundle import Release
from pipelines import basket_file
from pipelines.basket_file import Order
from pipelines.prediction import URGENCIES, Result
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, sql, text_sha256

TABLE = "pretrade"
#: The costs of a row, and what they are.
COLUMNS = {
    "notional_usd": "to be traded",
    "spread_usd": "expected: half spread and fees, alpha of the model",
    "self_now_usd": "expected: own flow of the bucket",
    "self_carried_usd": "expected: what earlier own flow of the basket left, since its start",
    "cross_now_usd": "expected: the basket's other names, same bucket",
    "cross_carried_usd": "expected: what they left",
    "delay_usd": "expected: what the basket's earlier orders moved before this one starts",
    "total_usd": "sum of these, against the mid at the basket's start",
    "low_usd": "95% interval of the expectation, lower end; null where it is unknown",
    "high_usd": "upper end",
    "total_bps": "total of the notional",
}
SCHEMA = pa.schema(
    [("prediction", pa.string()), ("predicted_at", pa.timestamp("us", tz="UTC"))]
    + [(name, pa.string()) for name in ("release_id", "basket_id", "order_id")]
    + [("line", pa.int64()), ("symbol", pa.string()), ("side", pa.string())]
    + [(name, pa.timestamp("us", tz="UTC")) for name in ("start_ts", "end_ts")]
    + [(name, pa.string()) for name in ("urgency", "regime", "rung")]
    + [(name, pa.float64()) for name in COLUMNS]
)


def digest(release: Release, orders: Sequence[Order], notionals: Sequence[float]) -> str:
    plain = [[str(value) for value in (*order.key, order.symbol, order.side, order.start,
                                       order.end)] for order in orders]  # fmt: skip
    said = canonical_json({"orders": plain, "usd": list(notionals)}).decode()
    return text_sha256(release.digest, said)[:16]


def remember(settings: Settings, result: Result, release: Release) -> None:
    """Add the prediction to those of the date on which the basket starts; once, however often it
    is asked for."""
    warehouse = Warehouse(settings)
    date = min(order.start for order in result.orders).date().isoformat()
    rows = list(_rows(result))
    if not rows:
        return
    lock = warehouse.folder("marts", TABLE, date) / ".lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with ledger.hold(lock), warehouse.connect() as connection:
        before = warehouse.manifest("marts", TABLE, date)
        if before and result.prediction in before.inputs:
            return
        made = pa.Table.from_pylist(rows, SCHEMA)
        connection.register("made", made)
        if before:
            warehouse.attach(connection, "marts", TABLE, [date], view=True)
            connection.execute(f"CREATE VIEW predicted AS SELECT * FROM {TABLE}")
        else:
            connection.register("predicted", SCHEMA.empty_table())
        inputs = {**(before.inputs if before else {}), result.prediction: release.digest}
        warehouse.publish(
            connection, sql("pretrade/remembered"), "marts", TABLE, date, inputs=inputs
        )


def _rows(result: Result) -> Iterator[dict[str, Any]]:
    for scenario in result.scenarios:
        for order, cost in zip(result.orders, scenario.orders, strict=bool(scenario.orders)):
            yield {
                "prediction": result.prediction,
                "predicted_at": result.predicted_at,
                "release_id": result.release,
                "basket_id": order.basket_id,
                "order_id": order.order_id or None,
                "line": order.line,
                "symbol": order.symbol,
                "side": order.side,
                "start_ts": order.start,
                "end_ts": basket_file.at_urgency(order, URGENCIES[scenario.urgency]).end,
                "urgency": scenario.urgency,
                "regime": scenario.regime,
                "rung": scenario.rung,
                **cost.to_dict(),
            }
