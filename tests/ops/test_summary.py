"""The demo's summary counts honestly."""

from __future__ import annotations

import io
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from crossimpact.model import ImpactModel
from crossimpact.release.content import Window
from crossimpact.release.gates import Row
from crossimpact.shadow.summary import PolicyLine
from ops import summary
from ops.summary_tables import render
from pipelines.live.recap import Recap
from pipelines.release import RegimeAnswer
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse


def model(gamma: list[list[float]]) -> ImpactModel:
    n = len(gamma)
    ones = np.ones(n)
    return ImpactModel(
        symbols=tuple("ABCD"[:n]),
        sectors=("X",) * n,
        adv=1e8 * ones,
        regime="normal",
        alpha=ones,
        beta=ones,
        gamma=np.array(gamma),
    )


Edge = summary.Edge
PLANTED = [Edge("B", "A", 10.0), Edge("A", "C", -6.0), Edge("B", "C", 1.0)]


def test_recovery_asks_for_the_pair_in_either_order_and_for_its_sign():
    found = summary.recovery(
        model([[0, 8, 5, 0], [8, 0, 0, 2], [5, 0, 0, 0], [0, 2, 0, 0]]), PLANTED
    )
    # A-B is right, A-C has the wrong sign, B-D was never planted
    assert found == summary.Recovery(planted=3, strong=2, strong_found=1, found=3, found_true=1)


def test_recovery_of_the_truth_itself_is_complete():
    found = summary.recovery(model([[0, 10, -6], [10, 0, 1], [-6, 1, 0]]), PLANTED)
    assert found.strong_found == found.strong == 2
    assert found.found_true == found.found == found.planted == 3


def test_a_regime_without_a_model_has_found_nothing():
    found = summary.recovery(None, PLANTED)
    assert (found.strong, found.strong_found, found.found) == (2, 0, 0)


def test_nothing_planted_is_fine():
    assert summary.recovery(model([[0, 0], [0, 0]]), []).strong == 0


def test_a_lost_row_is_seen():
    kept = {"landed": 3, "accepted": 2, "quarantined": 1}
    assert summary.unbalanced({"a": kept}) == []
    assert summary.unbalanced({"a": kept, "b": kept | {"accepted": 1}}) == ["b"]


def test_sums_are_exact():
    amounts = [Decimal("0.1")] * 3 + [Decimal("1e20"), Decimal("-1e20")]
    assert Decimal(summary.total(amounts)) == Decimal("0.3")


def test_accounting_counts_landed_files_not_what_the_platform_says(tmp_path):
    folder = tmp_path / "landing" / "instruments" / "date=2026-03-02"
    folder.mkdir(parents=True)
    for part in (1, 2):
        pq.write_table(pa.table({"symbol": ["A", "B"]}), folder / f"part-{part}.parquet")
    settings = Settings(tmp_path / "home")
    warehouse = Warehouse(settings)
    with warehouse.connect() as connection:
        warehouse.publish(
            connection, "SELECT 1 AS x", "accepted", "instruments", "2026-03-02", inputs={}
        )
    counts = summary.accounting(settings, Landing(tmp_path / "landing"))
    assert counts == {"instruments": {"landed": 4, "accepted": 1, "quarantined": 0}}
    assert summary.unbalanced(counts) == ["instruments"]


RECAP = Recap(
    session="demo", journal="/home/x/demo.jsonl", lines=1200, events={"market": 1100, "fill": 90},
    refused=0, skipped=3, decisions=9, answered={"optimal": 7, "ranked": 2},
    guardrail={"green": 6, "amber": 3}, minutes={"green": 310.4, "amber": 79.6, "red": 0.0},
    limit_refusals=1, fallbacks=2, level="RUN", mode="advisory", outstanding={},
)  # fmt: skip


@pytest.mark.parametrize("width", [60, 120])
def test_render_shows_the_facts(width):
    stream = io.StringIO()
    found = summary.Summary(
        tables={"child_fills": {"landed": 5, "accepted": 3, "quarantined": 1}},
        regimes={
            "stressed": RegimeAnswer(
                "stressed", "fixed_pov", "no [stressed] bucket", 0.05, None, None, None, None
            )
        },
        edges={"stressed": summary.recovery(None, PLANTED)},
        decay={
            "normal": summary.Lived(30.0, 0.3, 28.54, 22.9, 40.3, 0.31, 0.16, 0.37),
            "stressed": summary.Lived(float("inf"), 1.0, None, None, None, None, None, None),
        },
        gates=(
            Row("psd_margin", "normal", 0.25, "at_least", 0.0, "pass"),
            Row("edge_turnover", "normal", 0.91234567, "at_most", 0.8, "fail"),
            Row("shadow_p90", "", None, "at_most", None, "skipped"),
        ),
        champion=summary.Champion("abc", "abcdef" * 10, 3),
        window=Window("2026-03-02", "2026-03-27", 20),
        shortfall=summary.Shortfall(
            ["2026-03-27"], dict.fromkeys(("notional", *summary.SPLIT), "0")
        ),
        reports=[
            f"/home/x/{name}.html"
            for name in ("index", "sequence", "tca-2026-03-26", "tca-2026-03-27", "tca-2027-01-04")
        ],
        pull={
            "state": "live",
            "reason": "",
            "regimes": [{"regime": "stressed", "rung": "fixed_pov"}],
        },
        shadow=[
            PolicyLine(
                policy="optimal",
                is_bps=55.81,
                gain_bps=2.87,
                gain_lo_bps=-1.02,
                gain_hi_bps=7.53,
                share_gain=0.88,
                claimed_bps=2.91,
                worst_kernel="none",
                worst_bps=-5.7,
                p90_bps=98.0,
                p95_bps=114.6,
                bad_fills=12,
                completion=0.83,
                placebo_gain_bps=-0.1,
                verdict="unproven",
            )
        ],
        live=summary.Live(RECAP, "line 7 was changed"),
        drift=[{"regime": "normal", "buckets": 60, "verdict": "watch", "reason": "slope 2"}],
        stages={"simulate": 1.25},
        peak_mb=512.0,
    )
    told = json.loads(json.dumps(found.to_dict()))
    assert told["shortfall"]["dates"] == ["2026-03-27"] and told["shortfall"]["total"] == "0"
    assert told["edges"]["stressed"]["strong"] == 2
    assert told["decay"]["stressed"]["half_life_min"] == "inf"
    assert told["decay"]["normal"]["found_half_life_min"] == 28.54
    assert told["gates"][0]["verdict"] == "pass" and told["window"]["dates"] == 20
    assert told["live"]["minutes"]["green"] == 310.4 and told["live"]["problem"]
    render(Console(file=stream, width=width), found)
    text = stream.getvalue()
    for fact in (
        "ROWS LOST",
        "0 of 2",
        "answered by fixed_pov: no [stressed] bucket",
        "abcdef" * 10,
        "/home/x/index.html",
        "last day  /home/x/tca-2026-03-27.html",
        "pull      live: stressed by fixed_pov",
        "at most 0.8",
        "29 (23 to 40)",
        "31% (16% to 37%)",
        "stays",
        "0.9123",
        "fail",
        "nothing to judge: shadow_p90",
        "watch",
        "512 MB",
        "optimal 7, ranked 2",
        "-1.0, 7.5",
        "unproven",
        "green 310, amber 80, red 0",
        "advisory, RUN",
        "line 7 was changed",
    ):
        assert fact in text
    assert "tca-2027" not in text


def test_the_shortfall_is_of_the_landed_dates_alone(tmp_path):
    """A demo desk replaced by a later one leaves marts of dates that are landed no longer."""
    settings = Settings(tmp_path)
    warehouse = Warehouse(settings)
    columns = ", ".join(f"7 AS {name}_usd" for name in ("notional", *summary.SPLIT))
    for date in ("2026-03-26", "2026-03-27"):
        with warehouse.connect() as connection:
            warehouse.publish(
                connection,
                f"SELECT 'desk' AS scope, {columns}",
                "marts",
                "tca_daily",
                date,
                inputs={},
            )
    found = summary.shortfall(settings, ["2026-03-27", "2026-03-30"])
    assert (found.dates, found.usd["total"]) == (["2026-03-27"], "7")
