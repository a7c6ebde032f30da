"""Releases in MLflow, on SQLite and on a real server: what goes in comes out, verified."""

from __future__ import annotations

import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crossimpact.consumer import address, source
from crossimpact.errors import StaleModel, Unavailable, UsageError
from crossimpact.release import ledger, release_files
from registry import pages, tracking
from tests.registry.servers import PNG, Store, sample


def test_a_release_goes_in_once_and_comes_out_the_same(store: Store) -> None:
    release = sample("2026-01-31")
    version = store.register(release)
    assert (version.digest, version.id) == (release.digest, release.id)
    assert version.aliases == ("challenger",)
    assert store.register(release) == version
    assert [known.version for known in tracking.versions(store.uri)] == [version.version]
    for which in ("challenger", release.id, release.digest):
        back, found = store.resolve(which)
        assert back == release
        assert found.version == version.version

    newer = store.register(sample("2026-02-28"))
    assert newer.version == version.version + 1
    assert store.resolve("challenger")[0].as_of == "2026-02-28"
    assert source.ask(store.uri, lambda registry: registry.alias("champion")) is None
    tracking.move_alias(store.uri, "champion", version.version)
    assert source.ask(store.uri, lambda registry: registry.alias("champion")) == version.version
    assert store.resolve("champion")[0] == release
    assert not (store.home / "tmp").exists()  # what is read stays in memory


def test_the_run_and_the_version_carry_the_story(store: Store) -> None:
    release = sample("2026-03-31")
    version = store.register(release)
    with tracking.session(store.uri) as client:
        run = client.get_run(version.run_id)
        model = client.get_registered_model(tracking.MODEL)
        registered = client.get_model_version(tracking.MODEL, str(version.version))
    assert run.info.status == "FINISHED"
    assert run.data.params == {"huber": "1.345"}
    assert run.data.metrics == {"normal.oos_r2": 0.01}
    assert run.data.tags["metrics_not_finite"] == "stressed.oos_r2"
    assert run.inputs.dataset_inputs[0].dataset.digest == "d" * 36
    assert "`champion`" in model.description
    assert registered.description == "# Card\nwhat it is"
    assert registered.source == run.info.artifact_uri
    expected = {
        "digest": release.digest,
        "as_of": "2026-03-31",
        "regime": "normal",
        "window": "2026-01-01..2026-03-31 (20 dates)",
        "rung.normal": "full",
        "rung.stressed": "fixed_pov",
        "contract_version": "1",
        "code_version": "0.1.0",
    }
    assert expected.items() <= version.tags.items()
    assert expected.items() <= run.data.tags.items()
    folder = store.artifacts(version)
    assert (folder / "gamma-normal.png").read_bytes() == PNG
    shown = {"gamma-normal.png", "model_card.md", "MLmodel", "input_example.json"}
    assert {path.name for path in folder.iterdir()} == {*shown, "release"}
    names = {path.name for path in (folder / "release").iterdir()}
    assert names == {"manifest.json", *release.files}


def test_mlflow_shows_signature_and_example_and_has_nothing_to_load(
    store: Store, tmp_path: Path
) -> None:
    import mlflow

    version = store.register(sample("2026-03-31"))
    of_server = f"models:/{tracking.MODEL}/{version.version}"
    address = of_server if store.login else str(store.artifacts(version))  # SQLite has files alone
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", store.uri)
        patch.setenv("MLFLOW_REGISTRY_URI", store.uri)
        folder = mlflow.artifacts.download_artifacts(address, dst_path=str(tmp_path / "pulled"))
        with pytest.raises(mlflow.exceptions.MlflowException, match="python_function"):
            mlflow.pyfunc.load_model(address)
    model = mlflow.models.Model.load(folder)
    assert model.signature.inputs.input_names() == ["regime", "symbol", "q_adv"]
    assert model.signature.outputs.input_names() == ["self_bps", "cross_bps"]
    assert model.load_input_example(folder).to_numpy().tolist() == [
        ["normal", "A", 0.01],
        ["normal", "B", 0.01],
    ]
    assert set(model.flavors) == {"crossimpact"}
    assert "loader_module" not in (Path(folder) / "MLmodel").read_text()


def test_the_example_is_what_the_model_answers() -> None:
    # 1% of ADV in both: alone 30 and 40 bps per ADV, and 5 and 2.5 bps per ADV of the other
    assert pages.example(sample("2026-03-31")) == [
        ("normal", "A", 0.01, pytest.approx(0.3), pytest.approx(0.05)),
        ("normal", "B", 0.01, pytest.approx(0.4), pytest.approx(0.025)),
    ]


def test_the_description_holds_whole_sections_and_names_the_others() -> None:
    row = "| A | B |\n| --- | --- |\n| a | b |\n"
    head, short = "# Card\nwhat\n\n", f"## Short\n\n{row}\n"
    card = f"{head}## Long\n\n{'x' * 4900}\n\n{short}## Last\n\n{'y' * 4900}\n"
    text = pages.description(card)
    assert text.startswith(head + "## Short") and "| --- | --- |" in text
    assert "xx" not in text and "yy" not in text
    assert text.endswith("*In `model_card.md` of the run also: Long, Last.*")
    assert re.search("\\| a\u00a0+ \\| b \\|\n\n\u00a0+\n\n", text)
    assert pages.description("# Card\nwhat it is") == "# Card\nwhat it is"
    assert len(pages.description("x" * 9000)) == 5000
    linked = pages.description("# Card\nwhat it is", "http://a/reports/index.html")
    assert "[the desk's reports](http://a/reports/index.html)" in linked
    assert linked.endswith("# Card\nwhat it is")


def test_what_is_found_out_later_is_noted_on_version_and_run(store: Store) -> None:
    version = store.register(sample("2026-03-31"))
    for on, slope in (("2026-04-03", 0.9), ("2026-04-10", 0.4), ("2026-04-10", 0.4)):
        tags = {"drift.normal": f"watch {on}"}
        values = {"drift.normal.slope": slope, "drift.stressed.slope": float("nan")}
        tracking.note(store.uri, version, tags, values, on=on)
    with tracking.session(store.uri) as client:
        run = client.get_run(version.run_id)
        history = client.get_metric_history(version.run_id, "drift.normal.slope")
    assert tracking.find(store.uri, "challenger").tags["drift.normal"] == "watch 2026-04-10"
    assert run.data.tags["drift.normal"] == "watch 2026-04-10"
    assert [point.value for point in history] == [0.9, 0.4]
    assert "drift.stressed.slope" not in run.data.metrics


def test_an_interrupted_registration_is_completed_by_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = sample("2026-04-30")
    with monkeypatch.context() as patch:
        patch.setattr(tracking, "_create", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.register(release)
    with pytest.raises(StaleModel):
        store.resolve(release.id)
    version = store.register(release, params={"huber": "another"})
    assert store.resolve(release.id)[1].version == version.version


def test_files_changed_after_registration_are_refused(store: Store) -> None:
    version = store.register(sample("2026-05-31"))
    path = store.artifacts(version) / "release" / "model-normal-full.json"
    path.write_bytes(path.read_bytes().replace(b"30.0", b"31.0"))
    with pytest.raises(StaleModel, match=r"model-normal-full.json has sha256"):
        store.resolve("challenger")


def test_an_edited_tag_fools_only_what_was_never_promoted(store: Store) -> None:
    release = sample("2026-06-30")
    version = store.register(release)
    forged = replace(release, as_of="2026-07-01")
    shutil.rmtree(store.artifacts(version) / "release")
    release_files.write(forged, store.artifacts(version) / "release")
    with tracking.session(store.uri) as client:
        client.set_model_version_tag(tracking.MODEL, str(version.version), "digest", forged.digest)
    assert store.resolve("challenger")[0] == forged
    book = store.book
    with ledger.locked(book) as opened:
        opened.append(
            when=datetime(2026, 7, 1, tzinfo=UTC),
            who="ann",
            action="promote",
            new=release.digest,
            version=version.version,
        )
    for which in ("challenger", release.id, forged.id):
        with pytest.raises(StaleModel, match=release.digest):
            store.resolve(which, book)


def test_damaged_files_are_told_by_version_and_mended_by_registering_again(store: Store) -> None:
    release = sample("2026-09-30")
    first = store.register(release)
    (store.artifacts(first) / "release" / "release.json").write_text("{}")
    where = f"version {first.version} of crossimpact-gamma/release.json has sha256"
    with pytest.raises(StaleModel, match=where):
        store.resolve("challenger")
    second = store.register(release)
    assert (second.version, second.digest) == (first.version + 1, first.digest)
    for which in ("challenger", release.id):
        found, version = store.resolve(which)
        assert (found, version.version) == (release, second.version)
    assert store.register(release).version == second.version


def test_lost_files_are_told(store: Store) -> None:
    version = store.register(sample("2026-08-31"))
    shutil.rmtree(store.artifacts(version))
    with pytest.raises(StaleModel, match=f"version {version.version} of crossimpact-gamma"):
        store.resolve("challenger")


def test_files_that_a_server_of_the_home_wrote_are_read_without_it(embedded: Store) -> None:
    release = sample("2026-08-31")
    version = embedded.register(release)
    embedded.artifacts(version).parent.rename(embedded.artifact_root / "1")
    with sqlite3.connect(embedded.uri.removeprefix(address.SQLITE)) as tables:
        tables.execute("UPDATE runs SET artifact_uri = 'mlflow-artifacts:/1/artifacts'")
    assert embedded.resolve("challenger")[0] == release


@pytest.mark.parametrize("which", ["nobody", "0" * 12])
def test_an_unknown_alias_or_id_is_stale(store: Store, which: str) -> None:
    with pytest.raises(StaleModel, match=which):
        store.resolve(which)


@pytest.mark.parametrize("which", ["", "abc123", "a' OR '1'='1", "../x", "%"])
def test_what_is_neither_alias_nor_id_is_a_wrong_argument(store: Store, which: str) -> None:
    with pytest.raises(UsageError):
        store.resolve(which)


def test_a_dead_server_is_told() -> None:
    with socket.socket() as probe:  # bound, not listening: nobody else takes the port
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        for act in (tracking.versions, lambda uri: tracking.move_alias(uri, "champion", 1)):
            with pytest.raises(Unavailable, match=f"MLflow at (http://)?{address}"):
                act(f"http://{address}")


def test_two_processes_may_use_a_new_home_at_once(tmp_path: Path) -> None:
    code = (
        "from registry.connection import session\n"
        f"with session('sqlite:///{tmp_path}/new/mlflow.db') as client:\n"
        "    client.search_registered_models()"
    )
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]


def test_importing_the_registry_does_not_import_mlflow() -> None:
    code = (
        "import sys, os, registry.tracking;"
        "assert 'mlflow' not in sys.modules;"
        "assert os.environ['MLFLOW_DISABLE_TELEMETRY'] == 'true'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
