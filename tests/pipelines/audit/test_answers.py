"""What an auditor asks: a fill, a rule, a day, two runs, waivers, a replay; on two judged dates."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crossimpact import contract
from crossimpact.errors import UsageError
from crossimpact.release import release_files
from crossimpact.release.content import Window
from pipelines import features
from pipelines.audit import answers, replay, rules, waivers
from pipelines.audit.fill import trace
from pipelines.audit.ledger import Ledger
from pipelines.export import export_history
from pipelines.store.landing import Landing
from pipelines.store.settings import Run, Settings
from pipelines.store.warehouse import Warehouse
from pipelines.validate import LandingBlocked, run, validate_dates
from tests.pipelines import desk
from tests.registry.servers import sample

NEXT = "2024-01-04"
FIRST, SECOND = (datetime(2024, 1, day, 22, 30, tzinfo=UTC) for day in (4, 5))
LATER = datetime(2024, 3, 5, 22, 30, tzinfo=UTC)
RULE = "fill_near_mid"


def fill_id(date: str, number: int) -> str:
    return f"{date}-f{number}"


def land(root: Path, date: str, far: tuple[int, ...]) -> Landing:
    """A day whose fills `far` are 20% off the mid."""
    tables = desk.clean(date)
    for row in tables["parent_orders"]:
        row["order_id"] = f"{date}-{row['order_id']}"
    for row in tables["benchmark_marks"]:
        row["order_id"] = f"{date}-{row['order_id']}"
    for number, row in enumerate(tables["child_fills"]):
        row |= {"fill_id": fill_id(date, number), "order_id": f"{date}-{row['order_id']}"}
        if number in far:
            row["fill_px"] = 120.0
    return Landing(desk.write(root, tables, date))


def at(home: Path, run_id: str, moment: datetime) -> Settings:
    return Settings(home, run=Run(run_id, moment, "ann"))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Judged twice: fill 5 of the first date was too far, then corrected; fill 7 of both is."""
    root = tmp_path_factory.mktemp("told")
    landing = land(root / "landing", desk.DATE, (5, 7))
    validate_dates(at(root / "home", "run-1", FIRST), landing, [desk.DATE])
    origin = Warehouse(Settings(root / "home")).day(desk.DATE).origin
    (root / "first-origin").write_text(origin)
    land(root / "landing", desk.DATE, (7,))
    land(root / "landing", NEXT, (7,))
    settings = at(root / "home", "run-2", SECOND)
    validate_dates(settings, landing, [desk.DATE, NEXT])
    features.prepare(settings, landing, [desk.DATE, NEXT])
    return root


@pytest.fixture
def settings(told: Path) -> Settings:
    return at(told / "home", "asks", SECOND)


def release(root: Path, as_of: str, data: dict[str, str]) -> str:
    """A release made here, by its digest."""
    made = dataclasses.replace(
        sample("2026-02-05"),
        as_of=as_of,
        flow="own",
        window=Window(desk.DATE, as_of, 2),
        report={"data": data},
    )
    release_files.write(made, root / "home" / "refits" / as_of / "release")
    return made.digest


def test_a_fill_is_traced_from_its_landed_row_to_its_bucket(settings: Settings) -> None:
    found = trace(settings, fill_id(NEXT, 3))
    (landed,) = found.landed
    assert (landed["path"], landed["row"]) == (f"child_fills/date={NEXT}/part-0.parquet", 3)
    assert landed["judged"] == "as it is"
    assert [(v["entry"], v["run"], v["verdict"]) for v in found.verdicts] == [
        (1, "run-2", "accepted")
    ]
    (bucket,) = found.buckets
    assert (bucket["symbol"], bucket["bucket_s"]) == (desk.SYMBOLS[1], 300)
    assert bucket["fate"] in ("fitted", "dropped: no regime") and bucket["gross_usd"] > 0
    assert found.rules == []


def test_a_corrected_fill_keeps_what_was_said_of_it_before(settings: Settings) -> None:
    found = trace(settings, fill_id(desk.DATE, 5))
    assert [v["verdict"] for v in found.verdicts] == ["quarantined", "accepted"]
    (broken,) = found.rules
    assert (broken["rule"], broken["status"], broken["ended_by"]) == (RULE, "superseded", "run-2")
    assert broken["file"] == f"child_fills/date={desk.DATE}/part-0.parquet" and broken["row"] == 5


def test_a_release_knows_the_fills_it_was_fitted_on_after_they_were_landed_again(
    told: Path, settings: Settings
) -> None:
    first = (told / "first-origin").read_text()
    warehouse = Warehouse(settings)
    now = {date: warehouse.day(date).origin for date in (desk.DATE, NEXT)}
    old = release(told, desk.DATE, {desk.DATE: first})
    new = release(told, NEXT, now)
    five, seven = fill_id(desk.DATE, 5), fill_id(NEXT, 7)

    def fitted(fill: str, digest: str) -> tuple[str, str]:
        (row,) = trace(settings, fill, digest).releases
        return row["fitted"], row["why"]

    assert fitted(five, old) == ("no", f"quarantined by {RULE} (entry 1)")
    assert fitted(five, new)[1].endswith("(entry 2)") and "quarantined" not in fitted(five, new)[1]
    assert fitted(seven, new) == ("no", f"quarantined by {RULE} (entry 1)")
    assert fitted(seven, old) == ("no", f"its window is {desk.DATE} to {desk.DATE}")
    lost = release(told, "2024-01-05", {desk.DATE: "0" * 64})
    assert fitted(five, lost)[0] == "unknown"
    assert len(trace(settings, five).releases) == 3
    with pytest.raises(UsageError, match="release nowhere was not made"):
        trace(settings, five, "nowhere")
    shutil.rmtree(told / "home" / "refits")


def test_a_rule_has_a_history_by_date_moment_and_place(settings: Settings) -> None:
    found = answers.rule(settings, f"child_fills.{RULE}")
    assert (found.since, found.open, found.released, found.superseded) == (desk.DATE, 2, 0, 1)
    assert found.first_seen == FIRST.isoformat(timespec="seconds")
    assert [row["open"] for row in found.dates] == [1, 1]
    assert {row["name"] for row in found.places["file"]} == {
        f"child_fills/date={date}/part-0.parquet" for date in (desk.DATE, NEXT)
    }
    assert {row["first_run"] for row in found.digests} == {"run-1"}
    assert answers.rule(settings, RULE).open == 2
    assert answers.rule(settings, "fill_px.range").open == 0
    with pytest.raises(UsageError, match=r"no rule 'fill_near_the_moon'.*fill_near_mid"):
        answers.rule(settings, "fill_near_the_moon")


def test_a_day_tells_every_entry_what_is_live_and_where_rows_broke(settings: Settings) -> None:
    found = answers.day(settings, desk.DATE)
    assert (found.live, found.stale) == ("entry 2", "")
    assert [(e["run"], e["kind"], e["who"]) for e in found.entries] == [
        ("run-1", "judged", "ann"), ("run-2", "judged", "ann"),
    ]  # fmt: skip
    assert found.rules == [{"table": "child_fills", "rule": RULE, "rows": 1}]
    assert {file["rows"] for file in found.files if "fills" in file["path"]} == {desk.N_FILLS}
    assert found.places["table"] == [{"name": "child_fills", "rows": 1}]
    json.dumps(found.to_dict())
    with pytest.raises(UsageError, match="2024-02-01 was never judged"):
        answers.day(settings, "2024-02-01")


def test_two_runs_differ_by_the_rows_that_were_released_or_refused(settings: Settings) -> None:
    expected = [{"table": "child_fills", "rule": RULE, "rows_before": 2, "rows_after": 1,
                 "released": 1, "refused": 0}]  # fmt: skip
    assert answers.difference(settings, f"{desk.DATE}/1", f"{desk.DATE}/2") == expected
    assert answers.difference(settings, "run-1", "run-2") == expected  # of the date both judged
    with pytest.raises(UsageError, match="judged no date in common"):
        answers.difference(settings, "run-1", f"{NEXT}/1")
    with pytest.raises(UsageError, match="'run-9' is not in the ledger"):
        answers.difference(settings, "run-1", "run-9")


QUESTIONS: list[Callable[[Settings], object]] = [
    lambda home: trace(home, "f1"),
    lambda home: answers.rule(home, RULE),
    lambda home: answers.day(home, desk.DATE),
    lambda home: answers.difference(home, "a", "b"),
    lambda home: waivers.listed(home),
]


def test_the_export_of_the_history_has_paths_and_neutral_cells(settings, tmp_path) -> None:
    out = tmp_path / "history.csv"
    assert export_history(settings, out) == 3
    with out.open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [line["status"] for line in lines] == ["superseded", "open", "open"]
    assert lines[0]["file"] == f"child_fills/date={desk.DATE}/part-0.parquet"
    assert lines[0]["first_run"] == "run-1" and lines[0]["ended_by"] == "run-2"
    assert all(line["key"] and line["rule_id"] == RULE for line in lines)


@pytest.mark.parametrize("ask", QUESTIONS)
def test_a_home_without_ledger_is_an_error_and_no_clean_bill(ask, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no audit ledger"):
        ask(Settings(tmp_path))


WAIVERS = f"""
[[waiver]]
rule = "{RULE}"
table = "child_fills"
first = {NEXT}
owner = "ann@desk"
reason = "auction"
expires = 2024-01-31
"""


def test_waivers_are_listed_with_what_they_cover_and_told_when_expired(told, tmp_path) -> None:
    shutil.copytree(told, tmp_path, dirs_exist_ok=True)
    (tmp_path / "landing" / waivers.FILE).write_text(WAIVERS)
    for day, state in ((31, "active"), (1, "expired, does not count")):
        moment = datetime(2024, 1 if day > 1 else 2, day, tzinfo=UTC)
        home = at(tmp_path / "home", "", moment)
        (row,) = waivers.listed(home, tmp_path / "landing").waivers
        assert (row["state"], row["open_rows"], row["owner"]) == (state, 1, "ann@desk")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (RULE, "no_such_rule", "child_fills has no rule no_such_rule"),
        ("owner", "own", "owner"),
        ("2024-01-31", '"later"', "expires"),
        ("[[waiver]]", "[[wavier]]", "unknown key wavier"),
        ("[[waiver]]", "[[waiver", "cannot be read"),
    ],
)
def test_a_wrong_waivers_file_is_told_by_its_key(tmp_path, old, new, words) -> None:
    (tmp_path / waivers.FILE).write_text(WAIVERS.replace(old, new))
    with pytest.raises(UsageError, match=words):
        waivers.load(Settings(tmp_path), None)


def test_a_changed_rule_is_replayed_after_a_dry_run_that_changes_nothing(
    told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(told, tmp_path, dirs_exist_ok=True)
    settings, landing = at(tmp_path / "home", "run-3", SECOND), tmp_path / "landing"
    assert replay.run(settings, landing, dry_run=True).dates == []
    wider = dict(__import__("pipelines.violations", fromlist=["x"]).PARAMETERS) | {
        "max_fill_distance": 0.5
    }
    monkeypatch.setattr("pipelines.violations.PARAMETERS", wider)
    rules.digests.cache_clear()
    try:
        before = {p: p.read_bytes() for p in (tmp_path / "home").rglob("*.*") if p.is_file()}
        dry = replay.run(settings, landing, dry_run=True)
        after = {p: p.read_bytes() for p in (tmp_path / "home").rglob("*.*") if p.is_file()}
        assert before == after
        assert dry.changed_rules == [f"child_fills.{RULE}"] and dry.dates == [desk.DATE, NEXT]
        expected = [{"table": "child_fills", "rule": RULE, "rows_before": 2, "rows_after": 0,
                     "released": 2, "refused": 0}]  # fmt: skip
        assert dry.rows == expected
        wet = replay.run(settings, landing, dry_run=False)
        assert (wet.rows, wet.dates) == (expected, dry.dates)
        assert replay.run(settings, landing, dry_run=True).dates == []
        assert answers.rule(settings, RULE).released == 2
        assert len(Ledger(settings.home).entries(desk.DATE)) == 3
    finally:
        monkeypatch.undo()
        rules.digests.cache_clear()


def test_an_active_waiver_lifts_the_block_of_its_rule_until_it_expires(tmp_path: Path) -> None:
    """Eight of twenty fills off the mid block a date; whoever answers for them lets them in."""
    far = tuple(range(2, 10))
    landing = land(tmp_path / "landing", desk.DATE, far)
    with pytest.raises(LandingBlocked, match=RULE):
        run(at(tmp_path / "home", "run-1", FIRST), landing)
    (tmp_path / "landing" / waivers.FILE).write_text(WAIVERS.replace(f"first = {NEXT}\n", ""))
    result = run(at(tmp_path / "home", "run-2", FIRST), landing)
    rows = result.tables["child_fills"]
    assert rows["accepted"] == rows["landed"] and rows["quarantined"] == 0
    entry = answers.day(Settings(tmp_path / "home"), desk.DATE).entries[-1]
    assert entry["verdict"] == "ok"
    broken = Warehouse(Settings(tmp_path / "home")).rows("violations", "child_fills", desk.DATE)
    assert [row["severity"] for row in broken or ()] == ["waived"] * len(far)
    with pytest.raises(LandingBlocked, match=RULE):  # two months later
        run(at(tmp_path / "home", "run-3", LATER), landing)


def test_a_verdict_names_active_and_expired_waivers(told: Path, tmp_path: Path) -> None:
    shutil.copytree(told, tmp_path, dirs_exist_ok=True)
    (tmp_path / "home" / waivers.FILE).write_text(WAIVERS)
    late = at(tmp_path / "home", "", datetime(2024, 2, 1, tzinfo=UTC))
    result = run(late, Landing(tmp_path / "landing")).to_dict()
    assert result["waived"] == []
    assert [RULE in text and "ann@desk" in text for text in result["expired_waivers"]] == [True]
    assert contract.TABLES["child_fills"].name in result["tables"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("day", desk.DATE), 0, '"live": "entry 2"'),
        (("rule", RULE), 0, '"open": 2'),
        (("fill", fill_id(NEXT, 7)), 0, '"verdict": "quarantined"'),
        (("diff", f"{desk.DATE}/1", f"{desk.DATE}/2"), 0, '"released": 1'),
        (("waivers",), 0, '"waivers": []'),
        (("pages",), 0, "audit-2024-01.html"),
        (("fill", "nowhere"), 2, "no fill 'nowhere'"),
        (("contract", "diff", "1", "2"), 0, "fill_qty"),
    ],
)
def test_the_command_line_answers_in_json(crossimpact, told, words, code, said) -> None:
    home = () if words[0] == "contract" else ("--home", told / "home")
    found, out, _ = crossimpact("audit", *words, *home, "--json")
    assert (found, said in out) == (code, True)


def test_a_mistyped_home_is_a_usage_error(crossimpact, tmp_path: Path) -> None:
    for words in (("fill", "f1"), ("rule", RULE), ("day", desk.DATE), ("diff", "a", "b")):
        assert crossimpact("audit", *words, "--home", tmp_path / "mistyped")[0] == 2
        assert crossimpact("audit", *words, "--home", tmp_path)[0] == 2
