"""A release's life on a real SQLite store: promoted, refused, overridden, rolled back, exported."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli import console
from crossimpact.errors import GateRefused, StaleModel, UsageError
from crossimpact.kernel.decay import Decay, DecayErrors
from crossimpact.model import ImpactModel
from crossimpact.release import hash_chain, ledger, release_files
from crossimpact.release.bundle import Release
from crossimpact.release.content import Policy
from pipelines import evidence, export, ledger_events, promotion
from pipelines import release as life
from pipelines.alias import pointed
from pipelines.store.settings import Settings
from registry import tracking
from tests.releases import POV, release_of

START = datetime(2026, 3, 1, tzinfo=UTC)
GOOD = {
    "psd_margin": 0.5,
    "condition_number": 40.0,
    "capped_share": 0.01,
    "no_profitable_round_trip": 1.0,
    "oos_gain": 0.01,
    "placebo_gain": 0.002,
    "buckets": 1500,
}


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def sample(beta: float, **metrics: float) -> Release:
    """A release told apart by its beta; `metrics` replace good ones."""
    model = ImpactModel(
        symbols=("A", "B", "C"),
        sectors=("T", "T", "U"),
        adv=np.array([1e6, 2e6, 3e6]),
        regime="normal",
        alpha=np.array([1.0, 2.0, 0.1 + 0.2]),
        beta=np.full(3, beta),
        gamma=np.array([[0.0, 5.0, 0.0], [2.5, 0.0, 0.0], [0.0, 0.0, 0.0]]),
        gamma_se=np.array([[np.nan, 0.5, np.nan], [np.nan] * 3, [np.nan] * 3]),
        alpha_se=np.array([0.25, np.nan, 0.5]),
    )
    report = {"contract": {"verdict": "ok"}, "metrics": {"normal": GOOD | metrics}}
    return release_of(model, "2026-02-28", report=report)


@pytest.fixture
def desk(tmp_path: Path, mlflow_tables: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow").mkdir()
    shutil.copy(mlflow_tables, tmp_path / "mlflow" / "mlflow.db")
    return Settings(home=tmp_path)


def register(desk: Settings, release: Release) -> tracking.Version:
    folder = desk.home / "refits" / release.id / "release"
    release_files.write(release, folder)
    attested = {"release": release.digest, "verdict": "same"}
    (folder.parent / evidence.ATTESTED).write_text(json.dumps(attested))
    root = desk.home / "mlflow" / "artifacts"
    return tracking.register(
        desk.mlflow_uri, root, folder, release, params={}, metrics={}, figures=dict, card="# Card"
    )


def promoted(desk: Settings, *betas: float) -> list[Release]:
    """Releases promoted one after the other, at hours 1, 2, ..."""
    found = [sample(beta) for beta in betas]
    for hour, release in enumerate(found, start=1):
        register(desk, release)
        promotion.promote(desk, who="ann", now=at(hour))
    return found


def forget_copies(desk: Settings) -> None:
    """Leave the home without its copies, as one is that shares only the ledger."""
    shutil.rmtree(desk.releases)


def champion_id(desk: Settings) -> str:
    release, facts = life.champion(desk)
    assert facts.id == release.id
    return release.id


def alias(desk: Settings) -> int | None:
    return pointed(desk)


def test_promote_show_and_promote_again(desk: Settings) -> None:
    release = sample(30.0)
    version = register(desk, release)
    done = promotion.promote(desk, who="ann", reason="March", now=at(1))
    assert (done.action, done.changed, done.id) == ("promote", True, release.id)
    assert (done.old, done.new) == (None, release.digest)
    assert {row.verdict for row in done.gates} == {"pass", "skipped"}
    assert alias(desk) == version.version

    tags = tracking.find(desk.mlflow_uri, "champion").tags
    assert (tags["gates"], tags["promoted"]) == ("pass", "promote by ann on 2026-03-01")

    shown = life.show(desk)
    assert (shown.id, shown.version, shown.note) == (release.id, version.version, "")
    assert shown.promoted == {
        "when": "2026-03-01T01:00:00+00:00",
        "who": "ann",
        "action": "promote",
        "why": "March",
        "approver": "",
    }
    normal, stressed, _ = shown.regimes
    assert (normal.regime, normal.rung, normal.buckets, normal.edges) == (
        "normal",
        "full",
        1500,
        1,
    )
    assert normal.condition_number == pytest.approx(release.models["normal"].condition_number)
    assert (stressed.rung, stressed.reason, stressed.edges) == (
        "fixed_pov",
        "3 buckets",
        None,
    )
    for result in (done, shown, life.ledger_verify(desk)):
        json.dumps(result.to_dict(), allow_nan=False)

    before = desk.ledger_path.read_bytes()
    again = promotion.promote(desk, release.id, who="ann", now=at(2))
    assert (again.changed, again.note) == (False, "already champion")
    assert desk.ledger_path.read_bytes() == before


def test_a_refusing_gate_is_named_and_nothing_moves(desk: Settings) -> None:
    (first,) = promoted(desk, 30.0)
    register(desk, sample(31.0, condition_number=1e9, psd_margin=float("nan")))
    ledger_before, alias_before = desk.ledger_path.read_bytes(), alias(desk)
    with pytest.raises(GateRefused) as refused:
        promotion.promote(desk, who="ann", now=at(2))
    assert "condition_number [normal]: 1000000000.0, must be <= 10000.0" in str(refused.value)
    assert "psd_margin [normal]: nan, must be >= 0.0" in str(refused.value)
    assert refused.value.exit_code == 4
    assert (desk.ledger_path.read_bytes(), alias(desk)) == (ledger_before, alias_before)
    assert champion_id(desk) == first.id


def test_an_override_takes_two_people_and_a_reason(desk: Settings) -> None:
    release = sample(30.0, condition_number=1e9)
    register(desk, release)

    def override(reason: str, approver: str) -> promotion.Promotion:
        return promotion.promote(
            desk, override=True, reason=reason, approver=approver, who="ann", now=at(1)
        )

    for reason, approver in (("", "bob"), ("calm market", ""), (" ", "bob")):
        with pytest.raises(UsageError):
            override(reason, approver)
    with pytest.raises(GateRefused, match="their own"):
        override("calm market", " Ann ")
    assert not ledger.entries(desk.ledger_path)

    assert override("calm market", "bob").action == "override"
    (entry,) = ledger.entries(desk.ledger_path)
    assert (entry.who, entry.approver, entry.why) == ("ann", "bob", "calm market")
    assert entry.identity == "name"  # nobody checked who they are, and the ledger says so
    assert life.ledger_lines(desk)["ledger"][0]["approver"] == "bob (name)"
    assert entry.refused == ("condition_number [normal]: 1000000000.0, must be <= 10000.0",)
    assert champion_id(desk) == release.id


def test_a_refusal_tells_every_gate(desk: Settings) -> None:
    register(desk, sample(30.0, condition_number=1e9))
    with pytest.raises(GateRefused) as refused:
        promotion.promote(desk, who="ann", now=at(1))
    told = refused.value.report["gates"]
    assert told == promotion.check(desk, now=at(1)).to_dict()["gates"]
    verdicts = {(row["gate"], row["regime"]): row["verdict"] for row in told}
    assert verdicts["condition_number", "normal"] == "fail"
    assert verdicts["psd_margin", "normal"] == "pass"
    assert verdicts["edge_turnover", "normal"] == "skipped"


def test_a_challenger_unlike_the_champion_is_refused_by_its_turnover(desk: Settings) -> None:
    promoted(desk, 30.0)
    model = sample(31.0).models["normal"]
    turned = replace(model, gamma=-model.gamma)
    register(desk, replace(sample(31.0), models={"normal": turned}))
    with pytest.raises(GateRefused, match=r"edge_turnover \[normal\]: 1.0, must be <= 0.8"):
        promotion.promote(desk, who="ann", now=at(2))


def test_couplings_may_come_where_there_were_none_but_not_all_go(desk: Settings) -> None:
    promoted(desk, 30.0)
    alone = sample(31.0)
    policy = alone.fallback | {"normal": replace(alone.fallback["normal"], rung="self_only")}
    alone = replace(alone, models={"normal": alone.models["normal"].self_only()}, fallback=policy)
    register(desk, alone)
    with pytest.raises(GateRefused, match=r"edge_turnover \[normal\]: 1.0, must be <= 0.8"):
        promotion.promote(desk, who="ann", now=at(2))
    said = {"override": True, "reason": "calm", "approver": "bob", "who": "ann"}
    promotion.promote(desk, now=at(2), **said)
    register(desk, sample(32.0))
    done = promotion.promote(desk, who="ann", now=at(3))
    verdicts = {(row.gate, row.regime): row.verdict for row in done.gates}
    assert verdicts["edge_turnover", "normal"] == "skipped"


def test_a_damaged_champion_does_not_keep_its_successor_out(desk: Settings) -> None:
    promoted(desk, 30.0)
    version = tracking.find(desk.mlflow_uri, "champion")
    (file,) = desk.home.glob(f"mlflow/artifacts/{version.run_id}/artifacts/release/release.json")
    file.write_bytes(file.read_bytes()[:-1])
    forget_copies(desk)
    register(desk, sample(31.0))
    with pytest.raises(GateRefused, match=r"edge_turnover \[normal\]: not known, release"):
        promotion.promote(desk, who="ann", now=at(2))
    said = {"override": True, "reason": "it is damaged", "approver": "bob", "who": "ann"}
    assert promotion.promote(desk, now=at(2), **said).action == "override"
    assert champion_id(desk) == sample(31.0).id


def test_a_registry_made_anew_knows_the_champion_by_its_digest(desk: Settings) -> None:
    (release,) = promoted(desk, 30.0)
    with tracking.session(desk.mlflow_uri) as client:
        client.delete_model_version(tracking.MODEL, "1")
    assert champion_id(desk) == release.id  # of this home's copy
    forget_copies(desk)
    with pytest.raises(StaleModel, match=release.digest):
        life.champion(desk)
    assert register(desk, release).version == 2
    assert champion_id(desk) == release.id
    done = promotion.promote(desk, who="ann", now=at(2))  # readers ask for the ledger's version
    assert (done.changed, done.version, alias(desk)) == (True, 2, 2)
    assert life.show(desk).note == ""


def test_a_refit_nobody_can_run_again_is_refused(desk: Settings) -> None:
    release = sample(30.0)
    register(desk, release)
    (desk.home / "refits" / release.id / evidence.ATTESTED).unlink()
    shutil.rmtree(desk.home / "refits" / release.id)
    with pytest.raises(GateRefused, match="reproducible: not known: its refit is not in this home"):
        promotion.promote(desk, who="ann", now=at(1))


def rung(desk: Settings) -> tuple[str, str]:
    (normal,) = (row for row in life.show(desk).regimes if row.regime == "normal")
    return normal.rung, normal.reason


def test_a_demotion_is_live_until_the_champion_is_promoted_again(desk: Settings) -> None:
    (release,) = promoted(desk, 30.0)
    done = promotion.demote(desk, {"normal": "self_only"}, who="bob", reason="slope 0.1", now=at(2))
    assert (done.action, done.changed, done.held) == ("demote", True, {"normal": "self_only"})
    assert (done.old, done.new) == (release.digest, release.digest)
    assert rung(desk) == ("self_only", "demoted by bob on 2026-03-01: slope 0.1")
    again = promotion.demote(desk, {"normal": "sector_block"}, who="bob", reason="x", now=at(3))
    assert (again.changed, again.note) == (False, "held there already")
    live, facts = life.champion(desk)
    (model, *_) = live.model_for("normal")
    assert model is not None and model.edges == 0
    assert facts.held["normal"].rung == "self_only"  # a page of the day is made anew
    assert life.show(desk, at(1.5)).regimes[0].rung == "full"  # which matrix priced that fill?

    assert promotion.promote(desk, release.id, who="ann", now=at(4)).action == "promote"
    assert rung(desk) == ("full", "fitted")
    assert [entry.action for entry in ledger.entries(desk.ledger_path)] == [
        "promote", "demote", "promote",
    ]  # fmt: skip


def test_a_demotion_nobody_had_seen_when_promoting_is_not_lifted(
    desk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (release,) = promoted(desk, 30.0)
    reproduced = evidence.reproduced

    def meanwhile(*asked: Any) -> str:
        promotion.demote(desk, {"normal": "self_only"}, who="drift", reason="0.1", now=at(2))
        return reproduced(*asked)

    with monkeypatch.context() as patch:
        patch.setattr(evidence, "reproduced", meanwhile)
        done = promotion.promote(desk, release.id, who="ann", now=at(3))
    assert (done.changed, done.note) == (
        False, "demoted meanwhile, normal to self_only: promote again to lift that",
    )  # fmt: skip
    assert rung(desk)[0] == "self_only"

    done = promotion.promote(desk, release.id, who="ann", now=at(4))
    assert (done.changed, done.note) == (True, "lifts the demotion, normal to self_only")
    assert rung(desk)[0] == "full"
    assert ledger.entries(desk.ledger_path)[-1].why == done.note


def test_a_demotion_is_of_the_release_that_is_meant(desk: Settings) -> None:
    first, second = promoted(desk, 30.0, 31.0)
    said = {"who": "drift", "reason": "0.1", "now": at(3), "of": first.digest}
    done = promotion.demote(desk, {"normal": "self_only"}, **said)
    assert (done.changed, done.note) == (False, f"release {first.id} is not champion")
    assert ledger_events.record(desk, "drift", **said) is False
    assert rung(desk)[0] == "full"
    assert [entry.action for entry in ledger.entries(desk.ledger_path)] == ["promote", "promote"]
    assert promotion.demote(desk, {"normal": "self_only"}, **said | {"of": second.digest}).changed


def test_what_takes_risk_away_does_not_wait_for_the_right_clock(desk: Settings) -> None:
    first, _ = promoted(desk, 30.0, 31.0)
    early = {"who": "bob", "reason": "late", "now": at(-9)}
    assert promotion.demote(desk, {"normal": "self_only"}, **early).changed
    assert ledger_events.record(desk, "drift", **early)
    assert promotion.rollback(desk, **early).new == first.digest
    assert {entry.when for entry in ledger.entries(desk.ledger_path)[1:]} == {at(2).isoformat()}
    assert life.ledger_verify(desk).ok


def test_a_promotion_is_dated_when_the_gates_have_spoken(
    desk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [at(1)]
    register(desk, sample(30.0))

    def slow(*_: Any) -> str:
        clock[0] = at(2)
        return "same"

    monkeypatch.setattr(evidence, "reproduced", slow)
    promotion.promote(desk, who="ann", now=lambda: clock[0])
    assert [entry.when for entry in ledger.entries(desk.ledger_path)] == [at(2).isoformat()]


def test_a_reason_may_hold_what_a_terminal_takes_for_markup(
    desk: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    register(desk, sample(30.0))
    promotion.promote(desk, who="ann", reason="[/b] [red] :x:", now=at(1))
    console.show(life.ledger_lines(desk), as_json=False)
    shown = capsys.readouterr().out
    assert "[/b] [red]" in shown and ":x:" in shown
    console.show({"refused": ["psd_margin [normal]: -1.0"]}, as_json=False)
    assert "[normal]" in capsys.readouterr().out


def test_what_cannot_be_demoted_is_told(desk: Settings) -> None:
    with pytest.raises(StaleModel, match="no release is promoted"):
        promotion.demote(desk, {"normal": "self_only"}, who="bob", reason="", now=at(1))
    promoted(desk, 30.0)
    for rungs in ({"stressed": "self_only"}, {"normal": "hope"}):
        with pytest.raises(UsageError):
            promotion.demote(desk, rungs, who="bob", reason="", now=at(2))
    assert life.ledger_verify(desk).lines == 1


def test_the_same_witness_is_one_line(desk: Settings) -> None:
    (release,) = promoted(desk, 30.0)
    for hour, fresh in ((2, True), (3, False)):
        said = {"who": "scheduler-1", "reason": "registry refused", "now": at(hour)}
        assert (
            ledger_events.record(desk, "fallback", rungs={"normal": "fixed_pov"}, **said) is fresh
        )
    assert champion_id(desk) == release.id
    assert rung(desk)[0] == "full"
    assert [line["action"] for line in life.ledger_lines(desk)["ledger"]] == ["promote", "fallback"]


def test_rollback_goes_back_one_promotion_at_a_time(desk: Settings) -> None:
    first, second, third = promoted(desk, 30.0, 31.0, 32.0)
    for hour, expected in ((4, second), (5, first)):
        done = promotion.rollback(desk, who="bob", reason="drift", now=at(hour))
        assert (done.action, done.new) == ("rollback", expected.digest)
        assert champion_id(desk) == expected.id
        assert tracking.find(desk.mlflow_uri, "champion").id == expected.id
    with pytest.raises(StaleModel, match="no earlier champion"):
        promotion.rollback(desk, who="bob", reason="more", now=at(6))
    history = [(1, first), (2.5, second), (3, third), (4.5, second), (99, first)]
    assert [life.show(desk, at(hours)).id for hours, _ in history] == [
        release.id for _, release in history
    ]
    with pytest.raises(StaleModel, match="no release was champion at 2026-03-01T00:30"):
        life.show(desk, at(0.5))
    assert life.ledger_verify(desk).lines == 5


@pytest.mark.parametrize("kill", ["ledger", "alias"])
@pytest.mark.parametrize(
    "change",
    [
        lambda desk: promotion.promote(desk, who="ann", now=at(5)),
        lambda desk: promotion.rollback(desk, who="ann", reason="drift", now=at(5)),
    ],
)
def test_a_kill_leaves_the_old_champion_or_the_new_and_the_next_change_moves_the_alias(
    desk: Settings,
    monkeypatch: pytest.MonkeyPatch,
    kill: str,
    change: Callable[[Settings], promotion.Promotion],
) -> None:
    _, second = promoted(desk, 30.0, 31.0)
    third = sample(32.0)
    register(desk, third)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if kill == "alias":
            patch.setattr(tracking, "move_alias", die)
        else:
            patch.setattr(hash_chain, "_write", die)
        with pytest.raises(KeyboardInterrupt):
            change(desk)
    done = kill == "alias"  # the line was written before
    assert (champion_id(desk) != second.id) == done
    assert life.show(desk).note.startswith("alias champion points") == done
    assert life.ledger_verify(desk).lines == 2 + done

    promotion.promote(desk, third.id, who="ann", now=at(6))
    assert champion_id(desk) == third.id
    assert life.show(desk).note == ""
    assert alias(desk) == 3


def test_an_alias_moved_by_hand_changes_nobody_and_is_put_back(desk: Settings) -> None:
    (first,) = promoted(desk, 30.0)
    other = register(desk, sample(31.0, condition_number=1e9))
    tracking.move_alias(desk.mlflow_uri, "champion", other.version)
    assert champion_id(desk) == first.id
    assert f"promote --release {first.id}" in life.show(desk).note
    done = promotion.promote(desk, first.id, who="ann", now=at(2))
    assert not done.changed
    assert "put back" in done.note
    assert life.show(desk).note == ""


def test_a_tampered_champion_is_refused_though_its_tag_agrees(desk: Settings) -> None:
    first, second = promoted(desk, 30.0, 31.0)
    version = tracking.find(desk.mlflow_uri, "champion")
    (files,) = (desk.home / "mlflow" / "artifacts").glob(f"{version.run_id}/artifacts/release")
    forged = replace(second, models=sample(99.0).models)
    shutil.rmtree(files)
    release_files.write(forged, files)
    with tracking.session(desk.mlflow_uri) as client:
        client.set_model_version_tag(tracking.MODEL, str(version.version), "digest", forged.digest)
    assert champion_id(desk) == second.id  # of this home's copy, and says what it saw
    note = life.show(desk).note
    assert "in MLflow the champion is damaged" in note and second.digest in note
    forget_copies(desk)
    with pytest.raises(StaleModel, match=second.digest) as refused:
        life.champion(desk)
    assert refused.value.exit_code == 5
    with pytest.raises(StaleModel, match=second.digest):
        promotion.promote(desk, forged.id, who="eve", now=at(3))
    promotion.rollback(desk, who="bob", reason="tampered", now=at(4))
    assert champion_id(desk) == first.id


def test_a_tampered_ledger_stops_everything_and_names_the_line(desk: Settings) -> None:
    promoted(desk, 30.0, 31.0)
    desk.ledger_path.write_bytes(desk.ledger_path.read_bytes().replace(b"ann", b"eve", 1))
    verdict = life.ledger_verify(desk)
    assert (verdict.ok, verdict.line) == (False, 1)
    for act in (
        lambda: life.champion(desk),
        lambda: promotion.promote(desk, who="ann", now=at(3)),
        lambda: promotion.rollback(desk, who="ann", reason="", now=at(3)),
    ):
        with pytest.raises(StaleModel, match="line 1"):
            act()


def test_a_clock_that_runs_back_moves_nothing(desk: Settings) -> None:
    _, second = promoted(desk, 30.0, 31.0)
    register(desk, sample(32.0))
    before = alias(desk)
    with pytest.raises(UsageError, match="before the ledger's last entry"):
        promotion.promote(desk, who="ann", now=at(1))
    assert alias(desk) == before
    assert champion_id(desk) == second.id


def test_nothing_promoted_is_told_with_what_to_do(desk: Settings) -> None:
    with pytest.raises(StaleModel, match="crossimpact promote"):
        life.champion(desk)
    with pytest.raises(StaleModel, match="no release challenger"):
        promotion.promote(desk, who="ann", now=at(1))
    register(desk, sample(30.0))
    with pytest.raises(StaleModel, match="no release is promoted"):
        export.export_gamma(desk, desk.home / "gamma.csv")
    assert not (desk.home / "gamma.csv").exists()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("which", ["champion", "challenger", "id"])
def test_the_exports_hold_every_number_exactly(desk: Settings, which: str) -> None:
    (release,) = promoted(desk, 30.0)
    model, name = release.models["normal"], release.id if which == "id" else which
    gamma, own = desk.home / "out" / "gamma.csv", desk.home / "out" / "self.csv"
    assert export.export_gamma(desk, gamma, name).rows == 2
    assert rows(gamma) == [
        {
            "regime": "normal",
            "symbol_i": "A",
            "symbol_j": "B",
            "gamma_bps": "5.0",
            "se_bps": "0.5",
        },
        {"regime": "normal", "symbol_i": "B", "symbol_j": "A", "gamma_bps": "2.5", "se_bps": ""},
    ]
    assert export.export_self(desk, own, name).to_dict() == {
        "path": str(own),
        "id": release.id,
        "rows": 3,
        "note": "",
    }
    table = rows(own)
    assert list(table[0]) == ["regime", "symbol", "alpha_bps", "beta_bps", "se_alpha", "se_beta"]
    assert [float(row["alpha_bps"]) for row in table] == model.alpha.tolist()
    assert [float(row["beta_bps"]) for row in table] == model.beta.tolist()
    assert [row["se_alpha"] for row in table] == ["0.25", "", "0.5"]


@pytest.mark.parametrize("known", [True, False])
def test_export_kernel_writes_what_is_left_at_every_lag(desk: Settings, known: bool) -> None:
    errors = DecayErrors(lags_min=(0.0, 10.0), se_self=(0.1, 0.2), se_cross=(0.3, 0.4))
    kernel = Decay.from_half_life(
        10.0, 0.5, scale_self=1.2, scale_cross=1.4, errors=errors if known else DecayErrors()
    )
    release = sample(30.0)
    model = replace(release.models["normal"], kernel=kernel)
    lower = {
        regime: {rung: replace(one, kernel=kernel) for rung, one in rungs.items()}
        for regime, rungs in release.lower.items()
    }
    register(desk, replace(release, models={"normal": model}, lower=lower))
    found = export.export_kernel(desk, desk.home / "kernel.csv", "challenger")
    table = rows(desk.home / "kernel.csv")
    assert list(table[0]) == ["regime", "lag_min", "g_self", "se_self", "g_cross", "se_cross"]
    assert found.rows == len(table) == (2 if known else 25) and found.note == ""
    at = next(row for row in table if float(row["lag_min"]) == 10)
    assert float(at["g_self"]) == pytest.approx(1.2 * 0.75)
    assert float(at["g_cross"]) == pytest.approx(1.4 * 0.75)
    assert (at["se_self"], at["se_cross"]) == (("0.2", "0.4") if known else ("", ""))


def test_export_kernel_of_a_release_without_says_so(desk: Settings) -> None:
    register(desk, sample(30.0))
    found = export.export_kernel(desk, desk.home / "kernel.csv", "challenger")
    assert found.rows == 0 and found.note == "normal: no decay kernel, nothing is carried over"


def test_an_export_of_square_root_flow_says_what_its_numbers_are_per(desk: Settings) -> None:
    release = sample(30.0)
    concave = replace(release.models["normal"], transform="sqrt", reference=np.full(3, 0.01))
    register(desk, replace(release, models={"normal": concave}))
    found = export.export_gamma(desk, desk.home / "gamma.csv", "challenger")
    assert found.rows == 2 and "normal: square-root flow" in found.note


def test_a_self_only_regime_exports_no_pairs(desk: Settings) -> None:
    release = sample(30.0)
    policy = release.fallback | {"normal": Policy("self_only", "won", POV)}
    register(desk, replace(release, fallback=policy))
    assert export.export_gamma(desk, desk.home / "gamma.csv", "challenger").rows == 0
    assert export.export_self(desk, desk.home / "self.csv", "challenger").rows == 3


def test_a_broken_store_is_told(desk: Settings) -> None:
    promoted(desk, 30.0)
    lost = replace(desk, home=desk.home / "elsewhere")
    (lost.home / "mlflow").mkdir(parents=True)
    for name in ("ledger.jsonl", "ledger.jsonl.head", "mlflow/mlflow.db"):
        shutil.copy(desk.home / name, lost.home / name)
    shutil.rmtree(desk.home / "mlflow" / "artifacts")
    with pytest.raises(StaleModel, match="version 1 of crossimpact-gamma is missing"):
        life.champion(lost)
