"""`code_digest`: everything a result depends on is in its key, and nothing that it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.audit import rules
from pipelines.store import provenance
from pipelines.store.landing import Landing
from pipelines.store.provenance import Sources, code_digest, sources
from pipelines.store.settings import Settings
from pipelines.validate import run
from tests.pipelines import desk

ROOT = Path(__file__).resolve().parents[3]
KEYS = ("pipelines.validate", "pipelines.features", "pipelines.moments", "pipelines.tca")
OURS = ("crossimpact", "expectations", "pipelines", "registry")


def read(*modules: str) -> Sources:
    return sources(*modules, places=provenance.SOURCES, queries=provenance.SQL_DIR)


@pytest.fixture
def copy(tmp_path, monkeypatch) -> Path:
    """The code again in another place, which is what `code_digest` reads."""
    for folder in ("expectations", "pipelines", "registry", "sql", "src/crossimpact"):
        target = tmp_path / "copy" / folder.removeprefix("src/")
        shutil.copytree(ROOT / folder, target, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "SOURCES", (tmp_path / "copy",))
    monkeypatch.setattr(provenance, "SQL_DIR", tmp_path / "copy" / "sql")
    forget()
    yield tmp_path / "copy"
    forget()


def forget() -> None:
    for digest in (code_digest, rules.digests, rules.judge):
        digest.cache_clear()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    forget()


@pytest.mark.parametrize(
    ("module", "inside"), [("pipelines.validate", "expectations.gx_runner"), ("pipelines.tca", "")]
)
def test_sources_hold_every_module_that_python_imports(module, inside):
    """`inside`: what the module imports when it is called, not before."""
    words = [f"import {name}" for name in (module, inside) if name]
    code = "; ".join([*words, "import sys", "print(*sys.modules)"])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    ours = {name for name in done.stdout.split() if name.partition(".")[0] in OURS}
    assert {module, "crossimpact.errors"} < ours
    assert ours <= read(module).texts.keys()


@pytest.mark.parametrize("module", KEYS)
def test_code_digest_changes_with_any_module_query_file_or_library(module):
    found = read(module)
    changed = [
        replace(found, texts={**found.texts, name: text + "\n"})
        for name, text in found.texts.items()
    ] + [
        replace(found, libraries={**found.libraries, name: version + ".1"})
        for name, version in found.libraries.items()
    ]
    assert len({other.digest for other in (found, *changed)}) == 1 + len(changed)
    assert "duckdb" in found.libraries and "absent" not in found.libraries.values()


def test_sources_of_the_four_keys_hold_what_decides_them():
    judged, pages = read("pipelines.validate"), read("pipelines.tca").texts
    assert {"expectations.gx_runner", "expectations.engine", "expectations.suites"} < set(
        judged.texts
    )
    assert "great_expectations" in judged.libraries
    checks = {f"sql/checks/{path.name}" for path in (ROOT / "sql/checks").glob("*.sql")}
    assert checks and checks < set(judged.texts)
    assert {"sql/features/panel", "sql/features/flow_public"} < {
        name.removesuffix(".sql") for name in read("pipelines.features").texts
    }
    assert "crossimpact.estimate.pilot" in read("pipelines.moments").texts
    templates = (ROOT / "pipelines/pages/templates").glob("*.j2")
    assert {f"pipelines/pages/templates/{path.name}" for path in templates} < set(pages)
    assert {"crossimpact.tca", "crossimpact.model", "pipelines.pages.plots"} < set(pages)
    assert not any(name.startswith(("cli", "dags", "ops", "tests")) for name in pages)


def test_code_digest_is_the_same_wherever_whenever_and_in_whatever_order(copy):
    here = ROOT / "src", ROOT
    key = sources(
        "pipelines.moments", "crossimpact.release.gates", places=here, queries=ROOT / "sql"
    )
    for path in copy.rglob("*"):
        os.utime(path, (0, 0))
    assert code_digest("crossimpact.release.gates", "pipelines.moments") == key.digest


def test_a_module_that_is_not_ours_is_an_error():
    with pytest.raises(ModuleNotFoundError, match=r"pipelines\.nowhere"):
        read("pipelines.nowhere")


def test_validate_judges_again_when_the_judge_or_a_check_changes(copy, tmp_path):
    settings = Settings(tmp_path / "home")
    landing = Landing(desk.write(tmp_path / "landing", desk.clean()))
    manifest = settings.home / f"warehouse/days/date={desk.DATE}/_manifest.json"

    def judged_anew() -> bool:
        before = manifest.stat().st_ino if manifest.exists() else None
        run(settings, landing)
        return manifest.stat().st_ino != before

    assert judged_anew() and not judged_anew()
    edit(copy / "pipelines/tca.py", "Daily TCA", "TCA")  # which no verdict reads
    edit(copy / "pipelines/split.py", "Everything known", "All that is known")  # a docstring
    edit(copy / "sql/checks/fill_near_mid.sql", "-- reads", "-- it reads")
    assert not judged_anew()
    before = rules.digests()
    edit(copy / "sql/checks/fill_near_mid.sql", "abs(", "@(")
    changed = {rule for rule, digest in rules.digests().items() if digest != before[rule]}
    assert changed == {"child_fills.fill_near_mid"}
    assert judged_anew() and not judged_anew()
    edit(copy / "expectations/gx_runner.py", "BOOLEAN_ONLY", "COMPLETE")
    assert rules.digests() == rules.digests() and judged_anew()


@pytest.mark.parametrize(
    "file", ["pipelines/plan.py", "sql/features/buckets.sql", "crossimpact/policy/limits.toml"]
)
def test_what_is_deployed_is_told_apart_by_any_of_its_files(copy, file):
    provenance.deployed.cache_clear()
    before = provenance.deployed()
    provenance.deployed.cache_clear()
    assert provenance.deployed() == before
    path = copy / file
    path.write_text(path.read_text() + "\n")
    provenance.deployed.cache_clear()
    assert provenance.deployed() != before
    provenance.deployed.cache_clear()
