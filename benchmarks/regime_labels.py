"""Regime labels against planted regimes, through the platform's own SQL.

    .venv/bin/python -m benchmarks.regime_labels                              # everything
    .venv/bin/python -m benchmarks.regime_labels --worlds trial --days 10 --wander 0,0.2

Quotes of a trial desk (`benchmarks/landing.py`) or of the demo's simulator become buckets, and the
buckets of each date and of its trailing ones labels; nothing is traded or fitted. With `--wander`
the level of volatility, spread and depth of a whole day moves by that log standard deviation from
day to day, half of its variance common to the three: no stress, only another day.

Prints a markdown table, means over the seeds and the worst seed in brackets: agreement is the share
of buckets with their planted regime, purity the share of those called stressed that are, recall the
share of the stressed that are called so, and false the share of normal buckets called stressed.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import product
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from numpy.typing import NDArray

from benchmarks import landing
from benchmarks.desks import draw
from crossimpact import contract, simulate
from crossimpact.panel import REGIMES
from crossimpact.simulate.market import plan_market
from pipelines import features
from pipelines.store.warehouse import sql

BUCKET_S = 300
COMPONENTS = ("vol_bps", "spread_bps", "depth_usd")

Labels = dict[datetime.datetime, str]
#: A date, its instruments and snapshots, and the regime of each of its buckets.
Session = tuple[str, dict[str, Any], dict[str, Any], NDArray[np.str_]]


@dataclass(frozen=True)
class Scores:
    """Shares of buckets: right, stressed of those called so, called so of the stressed, of the
    normal. NaN where there are none to share."""

    agreement: float
    purity: float
    recall: float
    false: float


# -- worlds ------------------------------------------------------------------------------------


def trial(seed: int, symbols: int, days: int) -> Iterator[Session]:
    desk = draw("clean", seed, symbols=symbols, days=days)
    for date, panel, quotes in landing.sessions(np.random.default_rng([seed, 1]), desk):
        yield date, landing.instruments(panel), landing.snapshots(panel, quotes), panel.regime


def demo(seed: int, symbols: int, days: int) -> Iterator[Session]:
    truth = plan_market(simulate.DeskSpec(symbols=symbols, days=days, seed=seed))
    for day, date in enumerate(truth.spec.dates):
        tables = simulate.simulate_day(truth, day)
        regime = np.array(REGIMES)[truth.regime[day]]
        yield date, tables["instruments"], tables["market_snapshots"], regime


WORLDS = {"trial": trial, "demo": demo}


# -- buckets and labels ------------------------------------------------------------------------


def connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET threads = 1")
    return connection


def add_buckets(connection: duckdb.DuckDBPyConnection, session: Session) -> None:
    """Append the buckets of a session to the table `every`; nobody trades in them."""
    date, instruments, snapshots, _ = session
    _empty(connection, "peer_flow")
    _empty(connection, "child_fills")
    _register(connection, "instruments", instruments)
    _register(connection, "market_snapshots", snapshots)
    width = {"bucket_s": BUCKET_S}
    connection.execute(f"CREATE OR REPLACE TABLE flow AS {sql('features/flow_own')}", width)
    edges = {"max_age_s": contract.MAX_SNAPSHOT_AGE_S, "opening_s": features.OPENING_S}
    columns = f"DATE '{date}' AS date, ts, symbol, {', '.join(COMPONENTS)}"
    made = f"SELECT {columns} FROM ({sql('features/buckets')})"
    connection.execute(f"CREATE TABLE IF NOT EXISTS every AS {made} LIMIT 0", width | edges)
    connection.execute(f"INSERT INTO every {made}", width | edges)


def _empty(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    columns = contract.TABLES[name].columns
    declared = ", ".join(f"{c.name} {contract.SQL_TYPE[c.type]}" for c in columns)
    connection.execute(f"CREATE OR REPLACE TABLE {name} ({declared})")


def _register(connection: duckdb.DuckDBPyConnection, name: str, columns: dict[str, Any]) -> None:
    """A table of arrays under its name; times are UTC, NaN in numbers is null."""
    arrays = [
        pa.array(values, pa.timestamp("us", tz="UTC"))
        if getattr(values, "dtype", np.dtype("O")).kind == "M"
        else pa.array(values, from_pandas=True)
        for values in columns.values()
    ]
    connection.register(name, pa.table(arrays, names=list(columns)))


def wander(connection: duckdb.DuckDBPyConnection, sd: float, seed: int) -> None:
    """Table `wandered`: `every`, each date at levels of its own."""
    dates = [
        date
        for (date,) in connection.execute("SELECT DISTINCT date FROM every ORDER BY 1").fetchall()
    ]
    rng = np.random.default_rng([seed, 2])
    own, common = rng.normal(size=(len(dates), 3)), rng.normal(size=(len(dates), 1))
    levels = np.exp(sd * np.sqrt(0.5) * (own + common * [1, 1, -1]))
    columns = {"date": pa.array(dates)} | {
        f"by_{n}": v for n, v in zip(COMPONENTS, levels.T, strict=True)
    }
    connection.register("levels", pa.table(columns))
    replaced = ", ".join(f"{name} * by_{name} AS {name}" for name in COMPONENTS)
    connection.execute(
        f"CREATE OR REPLACE TABLE wandered AS SELECT date, ts, symbol, {replaced} "
        "FROM every JOIN levels USING (date)"
    )


def labels(connection: duckdb.DuckDBPyConnection, table: str) -> Labels:
    """Labels of every date of a table of buckets, each read with its trailing dates."""
    found: Labels = {}
    dates = [
        date
        for (date,) in connection.execute(
            f"SELECT DISTINCT date FROM {table} ORDER BY 1"
        ).fetchall()
    ]
    for at, date in enumerate(dates):
        first = dates[max(0, at + 1 - features.TRAILING_DATES)]
        connection.execute(
            f"CREATE OR REPLACE TABLE buckets AS SELECT * FROM {table} WHERE date BETWEEN ? AND ?",
            [first, date],
        )
        found |= dict(
            connection.execute(
                f"SELECT ts::TIMESTAMP, regime FROM ({sql('features/regimes')})",
                {"date": date, **features.REGIME_PARAMETERS},
            ).fetchall()
        )
    return found


def scores(found: NDArray[np.bool_], planted: NDArray[np.bool_]) -> Scores:
    def share(of: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
        return float(of[among].mean()) if among.any() else float("nan")

    everything = np.ones_like(planted)
    return Scores(
        share(found == planted, everything), share(planted, found),
        share(found, planted), share(found, ~planted),
    )  # fmt: skip


# -- the program -------------------------------------------------------------------------------


def measure(
    world: str, seed: int, symbols: int, days: int, wanders: Sequence[float]
) -> Iterator[Scores]:
    """Scores of a desk for each wander of its days."""
    with connect() as connection:
        planted = []
        for session in WORLDS[world](seed, symbols, days):
            add_buckets(connection, session)
            planted.append(session[3] == "stressed")
        for sd in wanders:
            wander(connection, sd, seed)
            found = labels(connection, "wandered")
            called = np.array([found[ts] == "stressed" for ts in sorted(found)])
            yield scores(called, np.concatenate(planted))


def table(rows: dict[tuple[Any, ...], list[Scores]]) -> str:
    head = ["world", "days", "wander", "agreement", "purity", "recall", "false"]
    lines = [head, ["---"] * 3 + ["---:"] * 4]
    for key, found in rows.items():
        values = np.array([astuple(score) for score in found])
        worst = np.append(values[:, :3].min(axis=0), values[:, 3].max())
        mean = values.mean(axis=0)
        lines.append(
            [*map(str, key), *(f"{m:.3f} ({w:.3f})" for m, w in zip(mean, worst, strict=True))]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--worlds", default=",".join(WORLDS), help="comma-separated")
    parser.add_argument("--days", default="10,60", help="sessions, comma-separated")
    parser.add_argument("--wander", default="0,0.1,0.2,0.3", help="log sd between days")
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--symbols", type=int, default=20)
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    wanders = [float(sd) for sd in asked.wander.split(",")]
    rows: dict[tuple[Any, ...], list[Scores]] = {}
    for world, days, seed in product(
        asked.worlds.split(","), asked.days.split(","), asked.seeds.split(",")
    ):
        found = measure(world, int(seed), asked.symbols, int(days), wanders)
        for sd, score in zip(wanders, found, strict=True):
            rows.setdefault((world, int(days), sd), []).append(score)
    print(table(rows))


if __name__ == "__main__":
    main()
