"""Source files for the maps in docs/maps: small, made here, every kind of row in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NEW_YORK = ZoneInfo("America/New_York")
US_DATES = ("2024-07-02", "2024-07-03")
US_SYMBOLS = ("AAPL", "MSFT", "BRK B")
#: Prints a symbol and date has of each kind that is left out, times both.
US_PLANTED = {"sale_condition": 12, "off_exchange": 18, "cancelled": 6}
LONG_ID = "order_EURUSD2017-04-25 07:09:31.804000+00:00_2018-06-17 22:42:44.253123_9418"


def write(path: Path, header: str, rows: list[tuple[Any, ...]], delimiter: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [header, *(delimiter.join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def us_ticks(src: Path, hours: float = 3.5) -> Path:
    """Two dates, the second a half day of `hours` + 0 h: quotes about every 8 s and prints."""
    rng = np.random.default_rng(5)
    for date in US_DATES:
        stamp = date.replace("-", "")
        for symbol in US_SYMBOLS:
            mid, quotes, trades = 100.0 + 10 * len(symbol), [], []
            seconds = np.sort(rng.uniform(-30, 3600 * hours, int(450 * hours)))
            for second in seconds:
                mid = round(mid + 0.01 * int(rng.integers(-1, 2)), 2)
                clock = us_clock(second)
                bid, ask = round(1e4 * (mid - 0.01)), round(1e4 * (mid + 0.01))
                quotes.append((symbol, clock, bid, ask, 3, 4, "R"))
                px, qty = (ask if rng.random() < 0.5 else bid), int(rng.integers(1, 9)) * 100
                trades.append((symbol, us_clock(second + 0.5), px, qty, "@ TI", "00", "Q"))
            noon = us_clock(1800)
            quotes.append((symbol, noon, 1, 99_999_999, 1, 1, "C"))
            trades += 2 * [(symbol, noon, 9_999_999, 100, "@  Z", "00", "Q")]
            trades += 3 * [(symbol, noon, px, 100, "@", "00", "D")]
            trades += [(symbol, noon, 1, 100, "@", "08", "Q")]
            write(
                src / f"quotes_{symbol.replace(' ', '')}_{stamp}.csv",
                "SYMBOL,TIME,BID,ASK,BIDSIZ,ASKSIZ,QU_COND", quotes,
            )  # fmt: skip
            write(
                src / f"trades_{symbol.replace(' ', '')}_{stamp}.csv",
                "SYMBOL,TIME,PRICE,SIZE,TR_SCOND,TR_CORR,EX", trades,
            )  # fmt: skip
    bars = [
        (s, d, 1_000_000, 100) for s in US_SYMBOLS for d in ("20240628", "20240701", "20240702")
    ]
    write(src / "daily.csv", "SYMBOL,DATE,VOLUME,CLOSE", bars)
    return src


def us_clock(second: float) -> str:
    """A New York clock text, seconds after 09:30."""
    moment = datetime(2024, 7, 2, 9, 30) + timedelta(seconds=round(float(second), 6))
    return moment.strftime("%H:%M:%S.%f")


FX = {"EURUSD": 1.10, "GBPUSD": 1.30, "AUDUSD": 0.65}
FX_DATES = ("2024-05-06", "2024-05-07")
FX_OPEN = 7 * 3600


def tca_desk(src: Path, seconds: int = 3600, parents: int = 12) -> Path:
    """Per date `parents` orders a pair with three fills each, and quotes every 2 s from 07:00."""
    rng = np.random.default_rng(6)
    orders, trades = [], []
    for date in FX_DATES:
        start = datetime.fromisoformat(date).replace(tzinfo=UTC) + timedelta(seconds=FX_OPEN)
        ts = [start + timedelta(seconds=2 * k) for k in range(seconds // 2)]
        for pair, level in FX.items():
            mid = level * np.exp(np.cumsum(rng.normal(0, 1e-5, len(ts))))
            quotes = pa.table(
                {"ticker": [pair] * len(ts), "Date": pa.array(ts, pa.timestamp("ns", "UTC"))}
                | {"bid": mid - 5e-5, "ask": mid + 5e-5}
            )
            path = src / "market" / f"{pair}_{date}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(quotes, path)
            for k in range(parents):
                side, first = int(rng.choice([1, -1])), 60 + k * (seconds - 600) // parents
                order = f"{LONG_ID}_{pair}_{date}_{k}"
                window = [start + timedelta(seconds=first + s) for s in (0, 400)]
                orders.append((order, "", pair, side, 1.5, *map(iso, window)))
                for j in range(3):
                    second = first + 30 + 100 * j
                    px = float(mid[second // 2]) + side * 5e-5
                    when = iso(start + timedelta(seconds=second, milliseconds=1))
                    trades.append(
                        (f"{order}+fill {j}", order, pair, side, when, f"{px:.6f}", 0.5, "EBS",
                         "quote", "filled")
                    )  # fmt: skip
                trades.append(
                    (f"{order}+cancel", order, pair, side, iso(window[1]), "", "", "EBS", "quote",
                     "cancelled")
                )  # fmt: skip
    write(
        src / "orders.csv",
        "id;portfolio_id;ticker;side;notional_mio;benchmark_date_start;benchmark_date_end",
        orders, ";",
    )  # fmt: skip
    write(
        src / "trades.csv",
        "id;ancestor_pointer_id;ticker;side;date;executed_price;executed_notional_mio;venue;"
        "event_type;state",
        trades, ";",
    )  # fmt: skip
    write(src / "pairs.csv", "ticker,adv_bn", [("EURUSD", 0.5), ("GBPUSD", 0.3), ("AUDUSD", 0.1)])
    return src


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "+00:00"
