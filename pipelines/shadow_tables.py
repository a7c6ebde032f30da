"""The shadow's partitions: layer, tables and their Arrow schemas, from the declared columns."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import pyarrow as pa

from crossimpact.shadow.tables import BasketRow, DayRow

LAYER = "shadow"
#: The second is published last: a date that has it has both.
BASKETS, DAILY = "shadow_baskets", "shadow_daily"
TYPES = {int: pa.int64(), float: pa.float64()}


def schema(row: type[BasketRow] | type[DayRow]) -> pa.Schema:
    """A declared row's columns, in order; words are strings. Nothing in them is null."""
    hints = get_type_hints(row)
    return pa.schema(
        [(each.name, TYPES.get(hints[each.name], pa.string())) for each in fields(row)]
    )


SCHEMAS = {BASKETS: schema(BasketRow), DAILY: schema(DayRow)}
