"""A map: how somebody's files become the contract's tables, read from TOML and checked at load.

`docs/ingest.md` explains every key; `docs/maps/` holds two worked ones. A wrong map is one error
naming every wrong key, its value and what is allowed there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from crossimpact import contract
from crossimpact.errors import UsageError
from pipelines.ingest.columns import CELL_KEYS, KINDS, REQUIRED, Unit
from pipelines.store.checked import told

Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    """A table of the map: immutable, and a key it does not know is named with those it does."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        unknown = sorted(set(data) - set(cls.model_fields)) if isinstance(data, dict) else []
        if unknown:
            names = ", ".join(cls.model_fields)
            raise ValueError(f"unknown key {', '.join(unknown)}; allowed: {names}")
        return data


class Cell(_Strict):
    """How one contract column is made; a bare name is `{ column = name }`.

    `filename` is a regular expression whose first group is looked up in the file's name. `codes`
    translate texts. A time is a text with an offset, or naive in the market's (or `zone`'s) time,
    or an `epoch` number, or a `date` and a `time` apart (a clock text, or a number of `time_unit`
    since midnight).
    """

    column: Text | None = None
    constant: str | int | float | None = None
    filename: Text | None = None
    codes: dict[str, str | int] = {}
    multiply: PositiveFloat | None = None
    divide: PositiveFloat | None = None
    epoch: Unit | None = None
    format: Text | None = None
    zone: Text | None = None
    date: Cell | None = None
    time: Text | None = None
    time_unit: Unit | None = None

    @model_validator(mode="before")
    @classmethod
    def _column(cls, data: Any) -> Any:
        return {"column": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        parts = (self.column, self.constant, self.filename, self.date)
        if sum(part is not None for part in parts) != 1:
            raise ValueError("needs exactly one of column, constant, filename, date with time")
        if (self.date is None) != (self.time is None):
            raise ValueError("date and time go together")
        _zone(self.zone)
        return self


class Filter(_Strict):
    """Rows left out under `reason`: one of their codes is in `drop`, or one is not in `keep`.

    `split` parts a cell into codes, "" into its characters. With `adv` the row still counts in ADV.
    """

    reason: Annotated[str, Field(pattern="^[a-z0-9_]{1,40}$")]
    column: Text
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    split: str | None = None
    adv: bool = False

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if bool(self.keep) == bool(self.drop):
            raise ValueError("needs either keep or drop, a list of codes")
        return self


class Source(_Strict):
    """Files of one kind of rows: CSV (also .gz), or Parquet by its name's end."""

    files: Text
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."
    header: tuple[Text, ...] | None = None
    columns: dict[str, Cell]
    filter: tuple[Filter, ...] = ()


class Quotes(Source):
    """`sample_s`: the last quote strictly before each grid point, none older than `max_age_s`."""

    sample_s: Annotated[float, Field(ge=1, le=5)] | None = None
    max_age_s: PositiveFloat = contract.MAX_SNAPSHOT_AGE_S
    locked: Literal["land", "leave_out"] = "land"
    crossed: Literal["land", "leave_out"] = "land"


class Prints(Source):
    """`aggressor`: where a print's side is not given, who crossed is inferred."""

    aggressor: Literal["given", "lee_ready", "tick_rule"] = "given"


class Instruments(_Strict):
    """ADV of the last `adv_days` earlier dates, sectors and steps; a file of them is optional."""

    adv: Literal["prints", "bars", "column"] = "prints"
    adv_days: PositiveInt = 20
    sector: Text = "ALL"
    sectors: dict[str, str] = {}
    tick_size: PositiveFloat = 0.01
    lot_size: PositiveFloat = 1.0
    files: Text | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."
    header: tuple[Text, ...] | None = None
    columns: dict[str, Cell] = {}
    filter: tuple[Filter, ...] = ()


class PeerFlow(_Strict):
    """Other participants' flow: a file of it, or prints' aggressor flow less the desk's own."""

    derive: Literal["prints"] | None = None
    own_in_prints: bool = True
    files: Text | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."
    header: tuple[Text, ...] | None = None
    columns: dict[str, Cell] = {}
    filter: tuple[Filter, ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.derive is None) == (self.files is None):
            raise ValueError('needs either derive = "prints" or files with columns')
        return self


Clock = Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?|24:00)$")]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class Market(_Strict):
    """The market's time zone, its continuous session, and the closes of its half days."""

    time_zone: Text
    open: Clock = "00:00"
    close: Clock = "24:00"
    half_days: dict[Day, Clock] = {}

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        _zone(name)
        return name

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for close in (self.close, *self.half_days.values()):
            if close <= self.open:
                raise ValueError(f"the session closes at {close}, not after its open {self.open}")
        return self

    def close_on(self, date: str) -> str:
        return self.half_days.get(date, self.close)


class Map(_Strict):
    """The whole file. `symbols` renames the source's names to the contract's."""

    market: Market
    symbols: dict[str, Annotated[str, Field(pattern=contract.SYMBOL_PATTERN)]] = {}
    market_snapshots: Quotes
    public_trades: Prints | None = None
    daily_bars: Source | None = None
    instruments: Instruments = Instruments()
    parent_orders: Source | None = None
    child_fills: Source | None = None
    benchmark_marks: Source | None = None
    peer_flow: PeerFlow | None = None

    def sources(self) -> dict[str, Source]:
        """What is read from files, by name."""
        result = {}
        for name in KINDS:
            part = getattr(self, name)
            if isinstance(part, Source):
                result[name] = part
            elif part is not None and part.files:
                own = {key: getattr(part, key) for key in Source.model_fields}
                result[name] = Source(**own)
        return result

    @model_validator(mode="after")
    def _complete(self) -> Self:
        wrong = [*_wrong_columns(self.sources()), *_missing_tables(self)]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


def load(path: Path) -> Map:
    """The map of a TOML file.

    Raises
    ------
    UsageError
        The file cannot be read, or naming every wrong key, its value and what is allowed.
    """
    try:
        return Map.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise UsageError(f"map {path}: {told(error)}", "docs/ingest.md tells every key") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"map {path} cannot be read ({error})", "write it as TOML") from error


def _zone(name: str | None) -> None:
    try:
        ZoneInfo(name or "UTC")
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(
            f"{name!r} is not a time zone; allowed: IANA names, say Europe/Paris"
        ) from error


def _wrong_columns(sources: Mapping[str, Source]) -> Iterator[str]:
    for name, source in sources.items():
        kinds = KINDS[name]
        for column, cell in source.columns.items():
            place = f"{name}.columns.{column}"
            if column not in kinds:
                yield f"{place}: unknown column; allowed: {', '.join(kinds)}"
                continue
            allowed = CELL_KEYS[kinds[column]]
            for key in sorted(cell.model_fields_set - set(allowed)):
                yield f"{place}.{key}: not for a {kinds[column]}; allowed: {', '.join(allowed)}"
        for column in REQUIRED[name]:
            if column not in source.columns:
                yield f"{name}.columns.{column} is missing"


def _missing_tables(asked: Map) -> Iterator[str]:
    """Keys that need another table or column to work on."""
    instruments, prints = asked.instruments, asked.public_trades
    if instruments.adv == "prints" and prints is None:
        yield 'instruments.adv = "prints" needs [public_trades]; allowed: bars, column'
    if instruments.adv == "bars" and asked.daily_bars is None:
        yield 'instruments.adv = "bars" needs [daily_bars]; allowed: prints, column'
    if instruments.adv == "column" and "adv_notional" not in instruments.columns:
        yield 'instruments.adv = "column" needs instruments.columns.adv_notional'
    if instruments.columns and not instruments.files:
        yield "instruments.columns needs instruments.files"
    bars = asked.daily_bars.columns.keys() if asked.daily_bars else {"notional"}
    if not ("notional" in bars or {"volume", "close"} <= bars):
        yield "daily_bars.columns needs notional, or volume and close"
    if prints and prints.aggressor == "given" and "aggressor_side" not in prints.columns:
        yield (
            "public_trades.columns.aggressor_side is missing; map it, or set "
            "public_trades.aggressor to lee_ready or tick_rule"
        )
    desk = (asked.parent_orders, asked.child_fills)
    if any(desk) != all(desk):
        yield "parent_orders and child_fills go together: fills alone have no decision"
    if asked.benchmark_marks and not asked.parent_orders:
        yield "benchmark_marks needs [parent_orders]"
    orders = asked.parent_orders.columns.keys() if asked.parent_orders else {"start_ts"}
    if not orders & {"start_ts", "decision_ts"}:
        yield "parent_orders.columns needs start_ts or decision_ts"
    if asked.peer_flow and asked.peer_flow.derive and not (prints and asked.child_fills):
        yield (
            'peer_flow.derive = "prints" needs [public_trades] and [child_fills]: without a desk '
            "the fitted flow is everybody's already"
        )
