"""What would change: pairs, rungs, measured gains, and the price of the same flow under both."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from crossimpact.model import ImpactModel
from crossimpact.panel import Panel
from crossimpact.release import ledger, release_files
from crossimpact.release.bundle import Release
from crossimpact.release.content import Hold
from dags.approval import question
from pipelines.comparison import Comparison, change, compare, cross_usd
from pipelines.store.settings import Settings
from registry import tracking
from tests.releases import FIXED, release_of

SYMBOLS = ("A", "B", "C", "D")
NOW = datetime(2026, 4, 1, tzinfo=UTC)


def release(pairs: dict[str, float], gain: float | None = None, **fields: object) -> Release:
    """A release that couples `pairs` ('AB': gamma) in normal times, and answers no other."""
    gamma = np.zeros((4, 4))
    for (a, b), value in pairs.items():
        gamma[SYMBOLS.index(a), SYMBOLS.index(b)] = gamma[SYMBOLS.index(b), SYMBOLS.index(a)] = (
            value
        )
    model = ImpactModel(
        symbols=SYMBOLS,
        sectors=("T",) * 4,
        adv=np.full(4, 1e8),
        regime="normal",
        alpha=np.ones(4),
        beta=np.full(4, 90.0),
        gamma=gamma,
    )
    metrics = {} if gain is None else {"oos_gain": gain}
    made = release_of(model, "2026-03-31", report={"metrics": {"normal": metrics}})
    return replace(made, **fields)  # type: ignore[arg-type]


OLD = release({"AB": 5.0, "AC": 7.0, "BC": 3.0}, 0.02)
NEW = release({"AB": 6.0, "BC": -3.0, "CD": 4.0}, 0.05)


def panel() -> Panel:
    """Two normal buckets in which A and B, then C and D, buy 1% of ADV; and a stressed one."""
    q = np.array([[0.01, 0.01, 0, 0], [0, 0, 0.01, 0.01], [0.01] * 4])
    nothing = np.zeros_like(q)
    return Panel(
        ts=np.array(["2026-03-31T15:00", "2026-03-31T15:05", "2026-03-31T15:10"], "M8[s]"),
        date=np.array(["2026-03-31"] * 3),
        regime=np.array(["normal", "normal", "stressed"]),
        symbols=SYMBOLS,
        sectors=("T",) * 4,
        adv=np.full(4, 1e8),
        q=q,
        s=nothing,
        move=nothing,
        sector_flow=nothing,
        factor_flow=nothing,
    )


def test_change_tells_pairs_apart_by_sign_and_side():
    found = change("normal", OLD, NEW, panel())
    assert found.rungs == ("full", "full")
    assert (found.gained, found.lost, found.turned) == (("C/D",), ("A/C",), ("B/C",))
    assert found.kept == 1
    assert found.gains == (0.02, 0.05)


def test_cross_usd_prices_the_same_flow_under_both():
    before, after = change("normal", OLD, NEW, panel()).cross_usd
    # A and B trade 1e6 USD each and pay gamma x 0.01 bps for one another
    assert before == pytest.approx(1e-4 * 2 * 1e6 * 5 * 0.01)
    assert after == pytest.approx(1e-4 * 2 * 1e6 * (6 + 4) * 0.01)
    assert cross_usd(None, panel(), "normal") is None
    assert cross_usd(OLD.models["normal"], None, "normal") is None


def test_a_demotion_in_force_is_what_the_challenger_replaces():
    held = replace(OLD, held={"normal": Hold("self_only", "drift")})
    found = change("normal", held, NEW, panel())
    assert found.rungs == ("self_only", "full")
    assert len(found.gained) == 3
    assert found.gains == (None, 0.05)
    assert found.cross_usd[0] == 0


def test_a_regime_only_one_of_them_knows_is_compared_all_the_same():
    without = replace(NEW, models={}, fallback={"unknown": FIXED, "normal": FIXED})
    found = change("normal", OLD, without, None)
    assert found.rungs == ("full", "fixed_pov")
    assert (found.gained, len(found.lost)) == ((), 3)


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """OLD is champion with a week of drift behind it; NEW is registered."""
    settings = Settings(tmp_path)
    for made in (OLD, NEW):
        release_files.write(made, tmp_path / made.id)
        tracking.register(
            settings.mlflow_uri, tmp_path / "mlflow" / "artifacts", tmp_path / made.id, made,
            params={}, metrics={}, figures=dict, card="", origin={"airflow.run_id": made.id},
        )  # fmt: skip
    with ledger.locked(settings.ledger_path) as book:
        book.append(when=NOW, who="a", action="promote", new=OLD.digest, version=1)
        book.append(when=NOW, who="w", action="drift", why="watch 2026-03-31: normal watch, slope")
    return settings


def test_compare_reads_champion_drift_and_challenger(home: Settings):
    found = compare(home, NEW.id)
    assert found.champion == OLD.id
    assert found.drift == "watch 2026-03-31: normal watch, slope"
    assert [row.regime for row in found.changes] == ["normal", "stressed"]
    assert found.dates == ()  # this home has no features: nothing is priced, the rest is told
    version = tracking.find(home.mlflow_uri, NEW.id)
    assert version.tags["airflow.run_id"] == NEW.id


def test_without_a_champion_there_is_nothing_to_compare_with(tmp_path: Path):
    assert compare(Settings(tmp_path), NEW.id) == Comparison("", note="there is no champion yet")


SUMMARY = {
    "release": NEW.id, "flow": "own", "window": NEW.window.to_dict(),
    "regimes": {"normal": {"rung": "full"}, "stressed": {"rung": "fixed_pov"}},
}  # fmt: skip


def test_the_question_shows_what_changes_who_may_answer_and_where_to_look():
    changes = tuple(change(regime, OLD, NEW, panel()) for regime in ("normal", "stressed"))
    against = Comparison(OLD.id, changes, ("2026-03-25", "2026-03-31"), "watch 2026-03-31: slope")
    old = "the data end on 2026-03-31, 40 days before this run"
    links = {"release": "http://127.0.0.1:15000/#/models/crossimpact-gamma/versions/2"}
    body = question(SUMMARY, [], against, old=old, user="anna", links=links)["body"]
    for fact in (
        f"Champion now: {OLD.id}; its drift: watch 2026-03-31: slope.",
        "| normal | full | 1: C/D | 1: A/C | 1: B/C | 1 | +2.00% → +5.00% | 10 → 20 |",
        "cost of pairs, USD, 2026-03-25 to 2026-03-31",
        "**The data end on 2026-03-31, 40 days before this run.**",
        "**Triggered by anna, who cannot approve it: another login has to.**",
        "[release in MLflow](http://127.0.0.1:15000/#/models/crossimpact-gamma/versions/2)",
    ):
        assert fact in body


def test_the_first_question_says_who_would_answer():
    body = question(SUMMARY, [], Comparison("", note="there is no champion yet"))["body"]
    assert "there is no champion yet. It would answer normal by full, stressed by fixed_pov" in body
    assert "**" not in body
