"""`CROSSIMPACT_LOG_FORMAT=json`: every line on stderr is JSON, of success and of failure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from ops.airflow_env import ROOT, airflow_env


def run(*words: object, **env: str) -> tuple[int, str, list[dict[str, Any]]]:
    """Exit code, stdout, and stderr's lines."""
    done = subprocess.run(
        [sys.executable, "-m", "crossimpact", *map(str, words)], cwd=ROOT, capture_output=True,
        text=True, check=False, env={**os.environ, "CROSSIMPACT_LOG_FORMAT": "json", **env},
    )  # fmt: skip
    return done.returncode, done.stdout, [json.loads(line) for line in done.stderr.splitlines()]


def test_stages_carry_the_run_and_the_partition(tmp_path):
    code, out, lines = run(
        "simulate", tmp_path / "desk", "--symbols", 4, "--days", 2, "--home", tmp_path / "home",
        "--json", CROSSIMPACT_RUN_ID="run-7",
    )  # fmt: skip
    assert code == 0 and json.loads(out)
    assert {line["run_id"] for line in lines} == {"run-7"}
    dates = [line["partition"] for line in lines if "total" in line]
    assert len(dates) == 2 and all(
        date in line["message"] for date, line in zip(dates, lines[-2:], strict=True)
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("show", "--home", "/nowhere"), 2),
        (("validate", "--no-such-option"), 2),
        (("no-such-command",), 2),
    ],
)
def test_a_users_mistake_is_json_too(words, code):
    found, out, lines = run(*words)
    assert found == code and not out
    assert lines and all(line["logger"] == "stderr" for line in lines)
    assert len({line["run_id"] for line in lines}) == 1


def test_a_fault_of_ours_is_one_line_with_its_traceback(tmp_path):
    program = (
        "import sys; sys.argv = ['crossimpact', 'contract']\n"
        "from cli import main\nfrom pipelines.pages import contract\n"
        "def fail(): raise ZeroDivisionError('a\\nb')\n"
        "contract.markdown = fail\nmain.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "CROSSIMPACT_LOG_FORMAT": "json"},
    )  # fmt: skip
    (line,) = done.stderr.splitlines()
    body = json.loads(line)
    assert done.returncode == 1 and body["level"] == "critical" and body["message"] == "a\nb"
    assert "ZeroDivisionError" in body["exception"]


def test_a_format_that_is_none_is_refused(monkeypatch, crossimpact):
    monkeypatch.setenv("CROSSIMPACT_LOG_FORMAT", "xml")
    code, _, err = crossimpact("version")
    assert code == 2
    assert err == "error: CROSSIMPACT_LOG_FORMAT is 'xml'; say text or json\n"


def test_airflows_components_follow_the_same_setting(monkeypatch, tmp_path):
    monkeypatch.delenv("CROSSIMPACT_LOG_FORMAT", raising=False)
    assert airflow_env(tmp_path)["AIRFLOW__LOGGING__JSON_LOGS"] == "False"
    monkeypatch.setenv("CROSSIMPACT_LOG_FORMAT", "json")
    assert airflow_env(tmp_path)["AIRFLOW__LOGGING__JSON_LOGS"] == "True"
