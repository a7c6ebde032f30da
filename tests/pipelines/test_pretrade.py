"""`crossimpact pretrade`: a file and the champion become expected costs, remembered once; what is
wrong with a file is said by line and limit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossimpact.errors import CrossImpactError, ProblemError, StaleModel, UsageError
from crossimpact.kernel.decay import Decay, DecayErrors
from pipelines import basket_file, prediction, pretrade, promotion
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from tests.pipelines.tca_desk import desk as traded_day
from tests.pipelines.tca_desk import quote
from tests.pipelines.test_release import GOOD, at, register
from tests.releases import release_of

HEADER = "symbol,side,notional_usd,start,end,order_id\n"
WINDOW = "2026-03-02T14:30Z,2026-03-02T16:30Z"
BASKET = HEADER + f"A,BUY,20000,{WINDOW},o1\nB,SELL,40000,{WINDOW},o2\n"
ERRORS = DecayErrors(lags_min=(0.0, 60.0), se_self=(0.05, 0.05), se_cross=(0.1, 0.1))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path) -> Settings:
    """A champion with a model of normal times and none of stressed ones; a day's quotes."""
    import shutil

    from tests.pipelines.test_release import sample

    place = tmp_path_factory.mktemp("home")
    (place / "mlflow").mkdir()
    shutil.copy(mlflow_tables, place / "mlflow" / "mlflow.db")
    desk = traded_day(place, [], quotes=[quote("A", 10, 50.0), quote("A", 60, 40.0)])
    model = sample(30.0).models["normal"]
    model = replace(
        model,
        alpha_se=np.full(3, 0.1),
        beta_se=np.full(3, 3.0),
        gamma_se=np.where(model.gamma != 0, 0.5, np.nan),
        kernel=Decay.from_half_life(30.0, 0.3, errors=ERRORS),
    )
    report = {"contract": {"verdict": "ok"}, "metrics": {"normal": GOOD}}
    register(desk, release_of(model, "2026-02-28", report=report))
    promotion.promote(desk, who="ann", now=at(1))
    return desk


def file(folder: Path, text: str | bytes) -> Path:
    path = folder / "basket.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_the_same_causes_at_three_urgencies_in_every_regime(home: Settings, tmp_path: Path) -> None:
    result = pretrade.run(home, file(tmp_path, BASKET), at(2))
    assert [(s.regime, s.urgency) for s in result.scenarios] == [
        (regime, urgency) for regime in ("normal", "stressed") for urgency in prediction.URGENCIES
    ]
    normal, stressed = result.scenarios[:3], result.scenarios[3:]
    assert {(s.rung, s.reason, s.basket) for s in stressed} == {("fixed_pov", "3 buckets", None)}
    for scenario in normal:
        basket = scenario.basket
        assert basket and basket.low_usd is not None and basket.high_usd is not None
        assert basket.low_usd < basket.total_usd < basket.high_usd
        assert sum(order.total_usd for order in scenario.orders) == pytest.approx(basket.total_usd)
        (pair,) = scenario.pairs  # the orders' names; C is not traded
        assert (pair.symbol_i, pair.symbol_j) == ("A", "B")
        cross = basket.cross_now_usd + basket.cross_carried_usd
        assert pair.now_usd + pair.carried_usd == pytest.approx(cross)
        assert cross < 0  # bought and sold, gamma > 0
    assert [s.minutes for s in normal] == [120, 60, 30]
    own = [s.basket.self_now_usd + s.basket.self_carried_usd for s in normal if s.basket]
    assert own == sorted(own) and own[0] < own[-1]
    assert f"{normal[0].basket.total_usd:,.0f} USD" in result.headline  # type: ignore[union-attr]
    assert json.dumps(result.to_dict(), allow_nan=False)


def test_shares_are_priced_at_the_files_px_else_at_the_last_accepted_mid(
    home: Settings, tmp_path: Path
) -> None:
    head = "symbol,side,qty,px,start,end\n"
    given = pretrade.run(home, file(tmp_path, head + f"A,BUY,100,30,{WINDOW}\n"), at(2))
    last = pretrade.run(home, file(tmp_path, head + f"A,BUY,100,,{WINDOW}\n"), at(2))
    assert (given.notionals, last.notionals) == ((3000.0,), (4000.0,))
    assert "last mid of 2024-03-05" in last.note and "mid" not in given.note
    with pytest.raises(ProblemError, match=r"line 2: qty of B needs a price.*2024-03-05 have none"):
        pretrade.run(home, file(tmp_path, head + f"B,BUY,100,,{WINDOW}\n"), at(2))


def test_a_prediction_is_remembered_once_and_beside_others(home: Settings, tmp_path: Path) -> None:
    def kept(text: str, hour: float) -> list[dict[str, object]]:
        result = pretrade.run(home, file(tmp_path, text), at(hour))
        rows = Warehouse(home).rows("marts", "pretrade", "2026-03-03") or []
        assert any(row["prediction"] == result.prediction for row in rows)
        return rows

    text = BASKET.replace("03-02T", "03-03T")
    first, again, more = kept(text, 2), kept(text, 3), kept(text.replace("4000", "5000"), 4)
    assert first == again
    assert len(first) == 2 * 3 and len(more) == 2 * len(first)
    assert {row["predicted_at"] for row in more} == {at(2), at(4)}
    row = next(r for r in first if r["order_id"] == "o1" and r["urgency"] == "low")
    parts = [row[f"{name}_usd"] for name in prediction.CAUSES]
    assert sum(parts) == pytest.approx(row["total_usd"])  # type: ignore[type-var]


def test_a_name_that_no_model_has_is_refused_by_line(home: Settings, tmp_path: Path) -> None:
    text = HEADER + f"A,BUY,1,{WINDOW},a\na,BUY,1,{WINDOW},b\n"
    with pytest.raises(ProblemError, match="line 3: symbol 'a' is not among the 3 of release"):
        pretrade.run(home, file(tmp_path, text), at(2))


def test_no_champion_is_a_stale_model(tmp_path: Path) -> None:
    with pytest.raises(StaleModel):
        pretrade.run(Settings(tmp_path), file(tmp_path, BASKET), at(2))


def test_the_command_answers_first_and_in_plain_digits(
    home: Settings, tmp_path: Path, crossimpact: Callable[..., tuple[int, str, str]]
) -> None:
    path = file(tmp_path, BASKET)
    code, out, _ = crossimpact("pretrade", path, "--home", home.home)
    assert code == 0
    assert out.startswith("answer") and "in a normal market" in out.splitlines()[0] + out
    assert "e+" not in out and "95%" in out
    code, out, _ = crossimpact("pretrade", path, "--home", home.home, "--json")
    assert (code, len(json.loads(out)["scenarios"])) == (0, 6)
    assert crossimpact("pretrade", tmp_path / "absent.csv", "--home", home.home)[0] == 2


ROW = f"A,BUY,1000,{WINDOW},o1"
BAD: dict[str, tuple[str | bytes, type[CrossImpactError], str]] = {
    "nothing": ("", UsageError, "no column symbol, side, start, end"),
    "a header alone": (HEADER, UsageError, "has no orders"),
    "semicolons": (HEADER.replace(",", ";"), UsageError, "parted by semicolons"),
    "a column nothing reads": ("color," + HEADER, UsageError, "'color' that nothing reads"),
    "a column twice": ("side," + HEADER, UsageError, "'side' twice"),
    "no size": (HEADER.replace("notional_usd,", ""), UsageError, "neither notional_usd nor qty"),
    "another encoding": (BASKET.encode("utf-16"), UsageError, "not UTF-8 text: byte 0 is 0xff"),
    "latin-1": (HEADER.encode() + b"\xc4,BUY", UsageError, "not UTF-8"),
    "zero bytes": (HEADER + "A\0", UsageError, "zero byte"),
    "an open quote": (HEADER + 'A,"BUY', UsageError, "no CSV file: line 2"),
    "a thousands separator": (
        HEADER + ROW.replace("1000", "1,000"), ProblemError, "line 2 has 7 cells, the header 6"
    ),
    "quoted separator": (
        HEADER + ROW.replace("1000", '"1,000"'), ProblemError, "line 2: notional_usd is '1,000'"
    ),
    "zero": (HEADER + ROW.replace("1000", "0"), ProblemError, "line 2: notional_usd is 0, must be"),
    "negative": (HEADER + ROW.replace("1000", "-5"), ProblemError, "-5, must be > 0.*side says"),
    "nan": (HEADER + ROW.replace("1000", "nan"), ProblemError, "nan, must be > 0 and finite"),
    "no size in a row": (HEADER + ROW.replace("1000", ""), ProblemError, "neither of notional_usd"),
    "no symbol": (HEADER + ROW[1:], ProblemError, "line 2: symbol is empty"),
    "a short sale": (HEADER + ROW.replace("BUY", "SHORT"), ProblemError, "side is 'SHORT', must"),
    "no moment": (HEADER + ROW.replace("T14:30Z", " noon"), ProblemError, "noon', no moment"),
    "backwards": (
        HEADER + ROW.replace("T16:30", "T13:30"), ProblemError, "line 2: ends at .*13:30.*after"
    ),
    "an id twice": (HEADER + ROW + "\n\n" + ROW, ProblemError, "line 4 repeats line 2: o1"),
    "the same order twice": (
        HEADER + f"A,BUY,1,{WINDOW},\nA,BUY,2,{WINDOW},", ProblemError, "BUY A over the same window"
    ),
    "a control character in an id": (HEADER + ROW + "\x07", ProblemError, "order_id is 'o1.x07"),
    "two days": (
        HEADER + ROW.replace("02T16", "04T16"), ProblemError, "lasts 50.0 hours.* at most 24"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_with_a_basket_is_said_by_line_and_limit(name: str, tmp_path: Path) -> None:
    text, kind, told = BAD[name]
    with pytest.raises(kind, match=told) as caught:
        basket_file.read(file(tmp_path, text))
    assert caught.value.exit_code == 2


def test_a_byte_order_mark_spaces_and_zones_are_understood(tmp_path: Path) -> None:
    head = "\ufeff Symbol , SIDE,notional_usd,start,end\r\n"
    text = head + "A , buy,1e3,2026-03-02T09:30-05:00,2026-03-02 16:30\r\n"
    (order,) = basket_file.read(file(tmp_path, text))
    assert (order.symbol, order.side, order.basket_id) == ("A", "BUY", "basket")
    assert (order.start.hour, order.end.hour) == (14, 16)
