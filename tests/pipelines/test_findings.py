"""Findings of a day and a feed: planted in a profile or a tape, told with start, end and names."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from crossimpact import contract
from pipelines.feed import Stretch, market_silences, silences, still_books, together
from pipelines.findings import Finding, findings
from pipelines.profile import Profile
from pipelines.tape import Tape, tape
from pipelines.trading_day import Calendar, TradingDay, trading_day

NAMES = ("AAA", "BBB", "CCC", "DDD", "EEE")
OPEN = int(datetime(2024, 1, 3, 14, 30, tzinfo=UTC).timestamp() * 1e6)
MIDNIGHT = int(datetime(2024, 1, 3, tzinfo=UTC).timestamp() * 1e6)


def at(seconds: float) -> int:
    return OPEN + int(seconds * 1e6)


def books(silent: dict[str, tuple[float, float]], still: tuple[float, float] = (0, 0)) -> Tape:
    """A book of each name every 5 s for an hour, but for stretches; AAA's stands still."""
    rows = [
        (name, second)
        for name in NAMES
        for second in range(0, 3600, 5)
        if not silent.get(name, (-1, -1))[0] < second < silent.get(name, (-1, -1))[1]
    ]
    moves = [0.0 if n == "AAA" and still[0] <= s <= still[1] else (s % 7) / 100 for n, s in rows]
    part = pa.table(
        {
            "row": np.arange(len(rows)),
            "symbol": [name for name, _ in rows],
            "ts": pa.array([at(s) for _, s in rows]).cast(pa.timestamp("us", "UTC")),
            "bid_px": 99.0 + np.array(moves),
            "ask_px": 101.0 + np.array(moves),
            "bid_size": np.ones(len(rows)),
            "ask_size": np.ones(len(rows)),
        }
    )
    return tape([part], [np.array([], np.int64)], {}, {})


def told(stretch: Stretch) -> tuple[tuple[str, ...], float, float, float]:
    return stretch.names, (stretch.start - OPEN) / 1e6, (stretch.end - OPEN) / 1e6, stretch.seconds


def test_a_silence_of_every_name_is_the_markets() -> None:
    found = books(dict.fromkeys(NAMES, (600.0, 900.0)))
    assert [told(s) for s in market_silences(found)] == [(NAMES, 600, 900, 300)]
    assert silences(found) == []


def test_names_that_fall_silent_together_are_an_outage_and_one_alone_is_not() -> None:
    found = books({"AAA": (600, 900), "BBB": (605, 900), "CCC": (600, 895), "EEE": (1200, 1300)})
    assert market_silences(found) == []
    wide, single = together(silences(found), len(NAMES))
    assert [told(s) for s in wide] == [(("AAA", "BBB", "CCC"), 600, 900, 300)]
    assert [told(s) for s in single] == [(("EEE",), 1200, 1300, 100)]


def test_late_at_the_open_and_gone_before_the_close_is_silent() -> None:
    found = books({"AAA": (-1, 300), "BBB": (3000, 4000)})
    assert [told(s) for s in silences(found)] == [
        (("AAA",), 0, 300, 300), (("BBB",), 3000, 3595, 595),
    ]  # fmt: skip


def test_a_book_that_stands_still_for_long_is_told_once() -> None:
    assert still_books(books({})) == []
    ((names, start, end, seconds),) = [told(s) for s in still_books(books({}, (900, 2700)))]
    assert names == ("AAA",) and abs(start - 900) <= 5 and abs(end - 2700) <= 5
    assert abs(seconds - 1800) <= 10


NUMBERS = {
    "rows.child_fills": 100.0,
    "rows.peer_flow": 50.0,
    "rows.market_snapshots": 1000.0,
    "symbols.peer_flow": 5.0,
    "sparse.peer_flow": 0.0,
    "short.peer_flow": 0.0,
    "zero_share.peer_flow": 0.0,
    "null_share.market_snapshots": 0.5,
    "spread.market_snapshots": 1e-4,
    "fee_per_share.child_fills": 0.003,
    "notional.child_fills": 1e6,
    "notional.public_trades": 1e8,
    "snapshot_interval.market_snapshots": 5.0,
    "clocks_agree.public_trades": 0.0,
    "clocks_agree.peer_flow": 0.0,
    "fill_clock.child_fills": 0.0,
}
PROFILE = Profile(
    NUMBERS,
    {"adv_jump": dict.fromkeys(NAMES, 1e7), "price_jump": dict.fromkeys(NAMES, 100.0)},
    (), (), (), at(0) - MIDNIGHT, at(3600) - MIDNIGHT, MIDNIGHT, (), (), "0", NAMES,
)  # fmt: skip
MONTH = [replace(PROFILE, instruments=str(k)) for k in range(1, 7)]
DATES = [f"2023-12-{day}" for day in (18, 19, 20, 21, 22, 26)]
DAY = TradingDay(
    datetime(2024, 1, 3, tzinfo=UTC), datetime(2024, 1, 4, tzinfo=UTC), (), False, "the data"
)


def found(own: Profile, date: str = "2024-01-03", day: TradingDay = DAY) -> list[Finding]:
    return findings(date, own, MONTH, day, DATES)


def changed(**numbers: float) -> Profile:
    return replace(PROFILE, numbers=NUMBERS | {k.replace("__", "."): v for k, v in numbers.items()})


def test_a_day_like_its_month_has_no_finding() -> None:
    assert found(PROFILE) == []
    assert found(changed(rows__child_fills=130, notional__child_fills=2e6)) == []


@pytest.mark.parametrize(
    ("rule", "table", "own"),
    [
        ("rows", "child_fills", changed(rows__child_fills=50)),
        ("rows", "market_snapshots", changed(rows__market_snapshots=2000)),
        ("notional", "child_fills", changed(notional__child_fills=1e8)),
        ("null_share", "market_snapshots", changed(null_share__market_snapshots=1.0)),
        ("spread", "market_snapshots", changed(spread__market_snapshots=1e-3)),
        ("fee_per_share", "child_fills", changed(fee_per_share__child_fills=0.3)),
        ("snapshot_interval", "market_snapshots", changed(snapshot_interval__market_snapshots=60)),
        ("clocks_agree", "public_trades", changed(clocks_agree__public_trades=0.15)),
        ("clocks_agree", "peer_flow", changed(clocks_agree__peer_flow=0.15)),
        ("fill_clock", "child_fills", changed(fill_clock__child_fills=-2.0)),
        ("peer_flow_complete", "peer_flow", changed(sparse__peer_flow=0.5)),
        ("peer_flow_complete", "peer_flow", changed(symbols__peer_flow=2)),
        ("repeated_instruments", "instruments", replace(PROFILE, instruments="6")),
        ("symbols", "market_snapshots", replace(PROFILE, names=NAMES[:2])),
        ("adv_jump", "instruments", replace(PROFILE, by_name={"adv_jump": {"AAA": 1e10}})),
        (
            "price_jump",
            "market_snapshots",
            replace(PROFILE, by_name={"price_jump": dict.fromkeys(NAMES, 10_000.0)}),
        ),
        ("catchup_print", "public_trades", replace(PROFILE, catchups=(("AAA", at(9), 3000.0),))),
        (
            "market_silence",
            "market_snapshots",
            replace(PROFILE, market=(Stretch(NAMES, at(600), at(900), 300.0),)),
        ),
    ],
)
def test_a_day_unlike_its_month_is_told(rule: str, table: str, own: Profile) -> None:
    (finding,) = found(own)
    assert (finding.rule, finding.table, finding.severity) == (rule, table, "warn")
    assert finding.text and finding.to_dict()["limit"] is not None


def test_all_flows_zero_are_told_but_for_a_desk_that_never_has_any() -> None:
    zero = changed(zero_share__peer_flow=1.0)
    assert {f.rule for f in found(zero)} == {"peer_flow_zero", "zero_share"}
    assert findings("2024-01-03", zero, [zero] * 6, DAY, DATES) == []


def test_a_break_that_most_dates_have_is_no_silence_even_an_hour_later() -> None:
    lunch = Stretch(NAMES, at(3600), at(9000), 5400.0)
    month = [replace(PROFILE, market=(lunch,), instruments=str(k)) for k in range(6)]
    for shift in (0, 3600):
        own = replace(PROFILE, market=(Stretch(NAMES, at(3600 + shift), at(9000 + shift), 5400.0),))
        assert findings("2024-01-03", own, month, DAY, DATES) == []
    own = replace(PROFILE, market=(Stretch(NAMES, at(600), at(900), 300.0),))
    (finding,) = findings("2024-01-03", own, month, DAY, DATES)
    assert (finding.start, finding.end, finding.duration_s) == (
        "2024-01-03T14:40:00.000000Z", "2024-01-03T14:45:00.000000Z", 300.0,
    )  # fmt: skip


def test_a_session_on_a_saturday_is_told_where_there_never_was_one() -> None:
    (finding,) = found(PROFILE, "2024-01-06")
    assert finding.rule == "session_day" and "Saturday" in finding.text
    assert findings("2024-01-06", PROFILE, MONTH, DAY, ["2023-12-30", *DATES]) == []


def test_a_profile_survives_being_written() -> None:
    own = replace(PROFILE, single=(Stretch(("AAA",), 1, 2, 3.0),), prints_in=(4,))
    assert Profile.read(own.text()) == own


@pytest.mark.parametrize(
    ("date", "middle", "others", "hour"),
    [
        ("2024-01-03", 18.0, [], 18.0),
        ("2024-01-03", 4.0, [4.0, 4.1], 4.0),
        ("2024-01-03", -6.0, [18.0, 18.2], 18.1),  # yesterday's rows under today's date
        ("2024-01-03", -20.0, [], 12.0),
        ("2024-01-03", None, [18.0], 18.0),
        ("2024-01-03", 0.4, [0.5], 0.4),  # a session in New Zealand
    ],
)
def test_the_session_is_read_off_the_data(
    date: str, middle: float | None, others: list[float], hour: float
) -> None:
    landed = {date: middle} | {f"d{k}": value for k, value in enumerate(others)}
    day = trading_day(date, None, landed.__getitem__, [f"d{k}" for k in range(len(others))])
    centre = datetime(2024, 1, 3, tzinfo=UTC) + timedelta(hours=hour)
    assert abs((day.start + timedelta(hours=12)) - centre) < timedelta(seconds=1)
    assert day.end - day.start == timedelta(hours=24)


def test_a_named_calendar_knows_half_days_and_holidays() -> None:
    market = Calendar("XNYS")
    ((start, end),) = market.session("2024-11-29")
    assert (start.hour, start.minute, end.hour) == (14, 30, 18)
    assert market.session("2024-11-28") == ()
    own = Calendar(
        zone="Asia/Shanghai", hours=[["09:30", "11:30"], ["13:00", "15:00"]], closed=["2024-10-01"]
    )
    assert [a.hour for a, _ in own.session("2024-11-29")] == [1, 5]
    assert own.session("2024-10-01") == ()


REAL = Path(os.environ.get("CROSSIMPACT_REALDATA", ""))
#: Feed outages that the provider of the public set names, by date: names, start and end in UTC.
OUTAGES = {
    "2020-02-10": [(6, "01:42:30", "02:16:09")],
    "2020-02-11": [(6, "05:58:57", "06:01:24"), (6, "06:11:27", "06:13:45")],
    "2020-02-12": [
        (6, "01:40:03", "05:10:03"), (5, "05:10:03", "05:15:24"), (5, "05:34:36", "05:53:42"),
    ],
    "2020-02-13": [(6, "06:27:09", "06:36:24")],
}  # fmt: skip


@pytest.mark.skipif(
    not os.environ.get("CROSSIMPACT_REALDATA"), reason="CROSSIMPACT_REALDATA names no folder"
)
def test_the_public_sets_outages_are_the_feeds_and_every_other_silence_a_names(
    tmp_path: Path,
) -> None:
    from pipelines.ingest import public
    from pipelines.store.landing import Landing
    from pipelines.store.settings import Settings
    from pipelines.validate import validate_dates

    settings = Settings(tmp_path / "home")
    public.run(settings, "cn10", REAL / "cn10", tmp_path / "out")
    landing = Landing(tmp_path / "out" / "landing")
    wide: dict[str, list[tuple[int, str, str]]] = {}
    for report in validate_dates(settings, landing, landing.all_dates()):
        for f in report["findings"]:
            if f["rule"] == "feed_outage":
                told = (len(f["symbols"]), f["start"][11:19], f["end"][11:19])
                wide.setdefault(report["date"], []).append(told)
            if f["rule"] == "symbol_silence":
                assert len(f["symbols"]) == 1 and "meanwhile" in f["text"]
    assert wide.pop("2020-02-14")[0][0] == 6  # a sixth, which the provider does not name
    assert wide == OUTAGES
    assert contract.DAY_RULES
