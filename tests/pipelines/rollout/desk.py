"""A home whose dates are traded after they were drawn: costs know the arm, as on a real desk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from crossimpact.model import ImpactModel
from crossimpact.release import ledger as promotions
from crossimpact.release.bundle import Release
from crossimpact.rollout import ledger
from crossimpact.rollout.design import DayDraw
from pipelines import release as life
from pipelines import shadow_tables
from pipelines.approval import Signature
from pipelines.rollout import drawing, steps
from pipelines.rollout.places import Places
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from tests.releases import release_of

FIRST = date(2026, 2, 2)  # a Monday
AS_OF = "2026-01-30"
BASKETS = 12
MONEY = pa.decimal128(38, 6)
MOMENT = pa.timestamp("us", tz="UTC")
ORDERS = pa.schema([
    ("order_id", pa.string()), ("basket_id", pa.string()), ("symbol", pa.string()),
    ("decision_ts", MOMENT), ("end_ts", MOMENT), ("notional_usd", MONEY), ("total_usd", MONEY),
    ("cross_usd", MONEY), ("filled_usd", MONEY), ("filled_qty", pa.float64()),
    ("parent_qty", pa.float64()), ("decision_px", pa.float64()), ("is_open", pa.bool_()),
    ("first_date", pa.string()),
])  # fmt: skip
PAIRS = pa.schema([
    ("symbol_i", pa.string()), ("symbol_j", pa.string()), ("usd", MONEY), ("now_usd", MONEY),
])  # fmt: skip
INSTRUMENTS = pa.schema([("symbol", pa.string()), ("adv_notional", pa.float64())])
PARENTS = pa.schema([("order_id", pa.string())])


def champion(as_of: str = AS_OF, beta: float = 30.0) -> Release:
    model = ImpactModel(
        symbols=("A", "B"), sectors=("T", "T"), adv=np.full(2, 1e8), regime="normal",
        alpha=np.ones(2), beta=np.full(2, beta), gamma=np.array([[0.0, 5.0], [2.5, 0.0]]),
    )  # fmt: skip
    return release_of(model, as_of)


def days(count: int, first: date = FIRST) -> list[str]:
    """So many weekdays."""
    every = (first + timedelta(k) for k in range(2 * count + 7))
    return [day.isoformat() for day in every if day.weekday() < 5][:count]


def morning(day: str) -> datetime:
    """Before the open."""
    return datetime.fromisoformat(f"{day}T12:00:00+00:00")


def night(day: str) -> datetime:
    """After midnight behind a date."""
    return datetime.fromisoformat(f"{day}T00:30:00+00:00") + timedelta(days=1)


def entropy(day: str):
    """A salt for a test, the same each time."""
    return lambda size: hashlib.sha256(f"salt of {day}".encode()).digest()[:size]


def home(folder: Path, release: Release | None = None) -> Settings:
    """A home with a champion, and nothing traded yet."""
    settings, made = Settings(folder), release or champion()
    life.keep(settings, made)
    promote(settings, made)
    return settings


def promote(settings: Settings, release: Release, version: int = 1) -> None:
    life.keep(settings, release)
    with promotions.locked(settings.ledger_path) as held:
        held.append(when=datetime(2026, 2, 1, tzinfo=UTC), who="ann", action="promote",
                    new=release.digest, version=version)  # fmt: skip


def signed(who: str = "ann", approver: str = "bob", reason: str = "as planned") -> Signature:
    return Signature(who, reason, approver, "name")


def arms(settings: Settings, day: str, baskets: Mapping[str, float]) -> dict[str, bool]:
    """Who is the policy's, as the live loop is told."""
    book = ledger.entries(Places(settings.home).ledger)
    standing = ledger.standing(book)
    draw = standing.draws[day].draw if standing and day in standing.draws else None
    if not isinstance(draw, DayDraw):
        return dict.fromkeys(baskets, False)
    salt = Places(settings.home).salt(day).read_bytes()
    start = datetime.fromisoformat(f"{day}T14:30:00+00:00")
    return {k: draw.arm(salt, k, usd, start) == "policy" for k, usd in baskets.items()}


def trade(
    settings: Settings, day: str, *, effect: float = 0.0, completion: float = 1.0,
    count: int = BASKETS, spans: Sequence[str] = (), shadow: bool = True, gain: float = 4.0,
    own_sd: float = 20.0,
) -> dict[str, bool]:  # fmt: skip
    """A date's orders, which the policy made `effect` bps dearer, their TCA and their shadow; the
    arms."""
    rng = np.random.default_rng([7, date.fromisoformat(day).toordinal()])
    usd = {
        f"{day}/B{k}": float(v)
        for k, v in enumerate(1e6 * np.exp(0.7 * rng.standard_normal(count)))
    }
    drawn = arms(settings, day, usd)
    market = rng.normal(0, 10, count)
    expected = 5 + 3 * rng.standard_normal(count)
    cost = (
        10 + expected + rng.normal(0, 10) + market + own_sd * rng.standard_t(4, count) / np.sqrt(2)
    )
    rows, controls = [], {}
    for k, (name, notional) in enumerate(usd.items()):
        bps = float(cost[k]) + effect * drawn[name]
        filled = completion if drawn[name] else 1.0
        begun = datetime.fromisoformat(f"{day}T14:30:00+00:00") + timedelta(minutes=5 * k)
        rows.append({
            "order_id": f"{name}/1", "basket_id": name, "symbol": "AB"[k % 2], "decision_ts": begun,
            "end_ts": begun + timedelta(hours=1), "notional_usd": _usd(notional),
            "total_usd": _usd(notional * bps / 1e4),
            "cross_usd": _usd(notional * 1e-4 * (k % 3 - 1)),
            "filled_usd": _usd(notional * filled), "filled_qty": notional / 100 * filled,
            "parent_qty": notional / 100, "decision_px": 100.0, "is_open": name in spans,
            "first_date": day,
        })  # fmt: skip
        controls[name] = (float(market[k]), 2.0, float(expected[k]), bps)
    adv = [{"symbol": symbol, "adv_notional": 1e8} for symbol in "AB"]
    judged = judge(day, usd, controls, gain, rng) if shadow else []
    publish(settings, day, [
        ("marts", "tca_orders", rows, ORDERS),
        ("marts", "tca_pairs", [pair(rng)], PAIRS),
        ("accepted", "instruments", adv, INSTRUMENTS),
        ("accepted", "parent_orders", [{"order_id": "x"}], PARENTS),
        *((shadow_tables.LAYER, k, found, shadow_tables.SCHEMAS[k]) for k, found in judged),
    ])  # fmt: skip
    return drawn


def pair(rng: np.random.Generator) -> dict[str, Any]:
    """What the desk's two names cost each other on a date."""
    usd = float(rng.uniform(500, 1500))
    return {"symbol_i": "A", "symbol_j": "B", "usd": _usd(usd), "now_usd": _usd(usd / 2)}


def judge(
    day: str, usd: Mapping[str, float],
    controls: Mapping[str, tuple[float, float, float, float]], gain: float,
    rng: np.random.Generator,
) -> list[tuple[str, list[dict[str, Any]]]]:  # fmt: skip
    """The date's shadow: the policy gains `gain` bps by the independent judge, more by its own."""
    rows, daily = [], []
    for name, notional in usd.items():
        market, spread, other, bps = controls[name]
        for policy, better in (("executed", 0.0), ("optimal", gain + float(rng.normal(0, 1)))):
            rows.append({
                "date": day, "basket_id": name, "policy": policy, "judge": "independent",
                "notional_usd": notional, "is_usd": notional * (bps - better) / 1e4,
                "is_bps": bps - better, "executed_is_bps": bps, "gain_bps": better,
                "gain_lo_bps": better - 1, "gain_hi_bps": better + 1, "share_gain": 1.0,
                "market_bps": market, "spread_bps": spread, "other_expected_bps": other,
                "outside_evidence": 0.0, "status": "ok",
            })  # fmt: skip
    told = gain + float(rng.normal(0, 1))
    for who, kernel, better in (
        ("independent", "release", told), ("independent", "none", told + 0.5),
        ("claimed", "release", told + 9),
    ):  # fmt: skip
        daily.append({
            "date": day, "policy": "optimal", "judge": who, "kernel": kernel, "baskets": len(usd),
            "notional_usd": sum(usd.values()), "is_bps": 10.0, "gain_bps": better,
            "gain_lo_bps": better - 1, "gain_hi_bps": better + 1, "share_gain": 1.0,
            "p90_bps": 30.0, "p95_bps": 40.0, "bad_fills": 3, "bad_fill_cost_usd": 120.0,
            "participation": 0.05, "completion": 1.0,
            "placebo_gain_bps": float(rng.normal(0, 1)), "verdict": "gain",
        })  # fmt: skip
    return [(shadow_tables.BASKETS, rows), (shadow_tables.DAILY, daily)]


Table = tuple[str, str, Sequence[Mapping[str, Any]], pa.Schema]


def publish(settings: Settings, day: str, tables: Sequence[Table]) -> None:
    warehouse = Warehouse(settings)
    with warehouse.connect() as connection:
        for layer, table, rows, schema in tables:
            connection.register("given", pa.Table.from_pylist([dict(row) for row in rows], schema))
            made = {"by": "hand"}
            warehouse.publish(connection, "SELECT * FROM given", layer, table, day, inputs=made)


def day_of(settings: Settings, day: str, **traded: Any) -> steps.Moved:
    """A whole date of a stage that draws: commitment, trading, judgement at night."""
    drawing.commit(settings, day, who="loop", now=morning(day), entropy=entropy(day))
    trade(settings, day, **traded)
    return steps.judge(settings, who="loop", now=night(day))


def up(settings: Settings, day: str, **who: str) -> steps.Moved:
    """One stage up, the night behind a date."""
    return steps.start(settings, signed=signed(**who), now=lambda: night(day))


def _usd(value: float) -> Decimal:
    return Decimal(f"{value:.6f}")
