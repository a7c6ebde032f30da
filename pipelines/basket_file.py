"""A basket that is yet to be traded, as a CSV file: one row an order.

Columns: ``symbol``, ``side`` (BUY or SELL), ``qty`` or ``notional_usd`` (> 0), ``start`` and
``end`` (ISO 8601, UTC where no zone is written). Optional: ``order_id`` (by which TCA finds the
prediction again), ``basket_id`` (the file's name by default), ``px`` (what a share costs, where
``qty`` is given; the last accepted mid by default).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from crossimpact.errors import ProblemError, UsageError

Side = Literal["BUY", "SELL"]
NEEDED = ("symbol", "side", "start", "end")
SIZES = ("notional_usd", "qty")
OPTIONAL = ("order_id", "basket_id", "px")
COLUMNS = f"columns {', '.join(NEEDED)}, {' or '.join(SIZES)}[, {', '.join(OPTIONAL)}]"
MAX_BYTES, MAX_ORDERS, MAX_ID = 8 << 20, 20_000, 128
#: A basket is a day's: what is carried over a night is not what this prices.
MAX_SPAN = timedelta(hours=24)


@dataclass(frozen=True)
class Order:
    """An order to come.

    Attributes
    ----------
    line
        Of the file, 2 is the first order's.
    order_id, basket_id, symbol, side
        `order_id` is empty where the file has none.
    notional_usd, qty, px
        One of the first two is given; `px` may be, with `qty`.
    start, end
        UTC.
    """

    line: int
    order_id: str
    basket_id: str
    symbol: str
    side: Side
    notional_usd: float | None
    qty: float | None
    px: float | None
    start: datetime
    end: datetime

    @property
    def key(self) -> tuple[object, ...]:
        """What no two orders share."""
        return self.order_id or (self.symbol, self.side, self.start, self.end), self.basket_id


def read(path: Path) -> tuple[Order, ...]:
    """The orders of a file, in its order.

    Raises
    ------
    UsageError
        When it is no CSV file of these columns, or longer than this reads.
    ProblemError
        When a row is wrong: which line, and its value against its limit.
    """
    lines = _lines(path)
    orders = tuple(_order(number, line, path.stem) for number, line in lines)
    if not orders:
        raise UsageError(f"{path} has no orders", COLUMNS)
    if len(orders) > MAX_ORDERS:
        raise UsageError(f"{path} has {len(orders):,} orders, at most {MAX_ORDERS:,} are priced")
    _refuse_repeated(orders)
    first, last = min(o.start for o in orders), max(o.end for o in orders)
    if last - first > MAX_SPAN:
        hours = (last - first) / timedelta(hours=1)
        raise ProblemError(
            f"the basket lasts {hours:.1f} hours, from {first.isoformat()} to {last.isoformat()}: "
            f"at most {MAX_SPAN / timedelta(hours=1):.0f}",
            "price a day at a time",
        )
    return orders


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Line numbers and cells by column, blank lines left out."""
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        _check_header(path, names)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(names):
                raise ProblemError(
                    f"line {reader.line_num} has {len(cells)} cells, the header {len(names)}",
                    "quote a text that holds a comma, write numbers without separators",
                )
            yield reader.line_num, dict(zip(names, map(str.strip, cells), strict=True))
    except csv.Error as error:
        raise UsageError(f"{path} is no CSV file: line {reader.line_num}: {error}") from error


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is longer than {MAX_BYTES:,} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", COLUMNS) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not UTF-8 text: byte {error.start} is 0x{content[error.start]:02x}",
            "save it as CSV in UTF-8",
        ) from error
    if "\0" in text:
        raise UsageError(f"{path} is not text: it holds a zero byte", "save it as CSV in UTF-8")
    return text


def _check_header(path: Path, names: list[str]) -> None:
    missing = [name for name in NEEDED if name not in names]
    if missing:
        semicolons = "; its cells are parted by semicolons" if ";" in ",".join(names) else ""
        raise UsageError(f"{path} has no column {', '.join(missing)}{semicolons}", COLUMNS)
    if sum(name in names for name in SIZES) == 0:
        raise UsageError(f"{path} has neither {' nor '.join(SIZES)}", COLUMNS)
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{path} has column {name!r} twice", COLUMNS)
        if name not in (*NEEDED, *SIZES, *OPTIONAL):
            raise UsageError(f"{path} has a column {name!r} that nothing reads", COLUMNS)


def _order(line: int, cells: Mapping[str, str], basket: str) -> Order:
    side = cells["side"].upper()
    if side not in ("BUY", "SELL"):
        raise ProblemError(f"line {line}: side is {cells['side']!r}, must be BUY or SELL")
    if not cells["symbol"]:
        raise ProblemError(f"line {line}: symbol is empty")
    sizes = {name: _number(line, name, cells.get(name, "")) for name in (*SIZES, "px")}
    if (sizes["notional_usd"] is None) == (sizes["qty"] is None):
        found = "both" if sizes["qty"] is not None else "neither"
        raise ProblemError(f"line {line}: gives {found} of {' and '.join(SIZES)}", "give one")
    start, end = (_moment(line, name, cells[name]) for name in ("start", "end"))
    if not start < end:
        raise ProblemError(
            f"line {line}: ends at {end.isoformat()}, must be after its start {start.isoformat()}"
        )
    return Order(
        line=line,
        order_id=_id(line, "order_id", cells.get("order_id", "")),
        basket_id=_id(line, "basket_id", cells.get("basket_id", "") or basket),
        symbol=cells["symbol"],
        side="BUY" if side == "BUY" else "SELL",
        start=start,
        end=end,
        **sizes,
    )


def _id(line: int, name: str, text: str) -> str:
    if len(text) > MAX_ID or not (text == "" or text.isprintable()):
        raise ProblemError(
            f"line {line}: {name} is {text[:20]!r} of {len(text)} characters, must be printable "
            f"and at most {MAX_ID}"
        )
    return text


def _number(line: int, name: str, text: str) -> float | None:
    """A finite number > 0; None where the cell is empty."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise ProblemError(
            f"line {line}: {name} is {text!r}, must be a number", "write it like 1250000.50"
        ) from error
    if not 0 < value < math.inf:
        raise ProblemError(
            f"line {line}: {name} is {text}, must be > 0 and finite", "the side says which way"
        )
    return value


def _moment(line: int, name: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ProblemError(
            f"line {line}: {name} is {text!r}, no moment", "write it like 2026-03-27T14:30Z"
        ) from error


def _refuse_repeated(orders: tuple[Order, ...]) -> None:
    seen: dict[tuple[object, ...], int] = {}
    for order in orders:
        if (before := seen.setdefault(order.key, order.line)) != order.line:
            what = order.order_id or f"{order.side} {order.symbol} over the same window"
            raise ProblemError(
                f"line {order.line} repeats line {before}: {what}", "sum them, or name each order"
            )


def at_urgency(order: Order, share: float) -> Order:
    """The same order, done within a share of its window."""
    return replace(order, end=order.start + share * (order.end - order.start))
