"""Prometheus' configuration, alerts and dashboards: they parse, fire when they should, and speak of
metrics that are exported; each alert has an entry in the runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from crossimpact import contract
from crossimpact.release.policy import DEFAULT
from ops.airflow_env import ROOT
from pipelines.live.metrics import Metrics
from pipelines.monitoring.families import FAMILIES
from tests.test_docs import anchors

HERE = ROOT / "ops" / "monitoring"
DASHBOARDS = sorted((HERE / "grafana" / "dashboards").glob("*.json"))
DOCS = ROOT / "docs" / "monitoring.md"
#: Prometheus' own.
OWN = {"up", "ALERTS"}
#: Words of the query language that are followed by no bracket.
WORDS = {"and", "or", "unless", "on", "by", "ignoring", "without", "group_left", "bool", "le"}


def document(name: str) -> Any:
    return yaml.safe_load((HERE / name).read_text())


def rules() -> list[dict[str, Any]]:
    return [rule for group in document("alerts.yml")["groups"] for rule in group["rules"]]


def panels() -> Iterator[tuple[str, str, str]]:
    """Dashboard, title and expression of every target of every panel."""
    for file in DASHBOARDS:
        board = json.loads(file.read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield file.name, panel["title"], target["expr"]


@cache
def exported() -> set[str]:
    """Names of all series the platform and the live loop export."""
    live = {sample.name for metric in Metrics().registry.collect() for sample in metric.samples}
    return {family.name for family in FAMILIES} | live


def named(expr: str) -> set[str]:
    """Names of the metrics in an expression: no label, no function, no text, no duration."""
    bare = re.sub(
        r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|without|ignoring) *\([^)]*\)', " ", expr
    )
    return {n for n in re.findall(r"\b[a-zA-Z_:][\w:]*\b(?! *\()", bare) if n not in WORDS}


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (apt-get install prometheus)")
    return found


def run(*command: str | Path) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_its_configuration_and_the_rules(promtool):
    assert f"{len(rules())} rules found" in run(
        promtool, "check", "config", HERE / "prometheus.yml"
    )


def test_every_alert_fires_when_it_should_and_only_then(promtool):
    run(promtool, "test", "rules", HERE / "alerts_test.yml")


def test_every_expression_of_a_dashboard_parses(promtool, tmp_path):
    records = [{"record": f"panel:{k}", "expr": expr} for k, (*_, expr) in enumerate(panels())]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": records}]}))
    assert f"{len(records)} rules found" in run(promtool, "check", "rules", file)


def test_alertmanager_takes_its_configuration():
    amtool = shutil.which("amtool")
    if amtool is None:
        pytest.skip("amtool is not installed (apt-get install prometheus-alertmanager)")
    run(amtool, "check-config", HERE / "alertmanager.yml")


def test_every_metric_named_is_exported():
    assert named('a{b="c"} / on() sum by (d) (rate(e_f[5m])) > 3 * 10') == {"a", "e_f"}
    asked = {expr: named(expr) for *_, expr in panels()}
    asked |= {rule["expr"]: named(rule["expr"]) for rule in rules()}
    assert {e: n for e, names in asked.items() if (n := names - exported() - OWN)} == {}
    tests = {
        re.split(r"[{ ]", series["series"])[0]
        for case in document("alerts_test.yml")["tests"]
        for series in case.get("input_series", [])
    }
    assert tests <= exported() | OWN


def test_every_metric_of_the_platform_is_on_a_dashboard_or_in_an_alert():
    """What nobody looks at need not be exported."""
    asked = [expr for *_, expr in panels()] + [rule["expr"] for rule in rules()]
    seen = set().union(*map(named, asked))
    idle = {"crossimpact_build_info", "crossimpact_ledger_lines"} | {
        "crossimpact_champion_promoted_timestamp_seconds",
        "crossimpact_champion_as_of_timestamp_seconds",
    }
    assert {family.name for family in FAMILIES} - seen == idle


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_not():
    cases = {case["name"].partition(":")[0] for case in document("alerts_test.yml")["tests"]}
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    needed = {f"{name} fires" for name in names}
    needed |= {f"{name} is silent" for name in names if name != "DeadMansSwitch"}
    assert cases == needed


def test_every_alert_leads_to_its_runbook_entry():
    entries = anchors(DOCS)
    for rule in rules():
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert ROOT / page == DOCS
        assert anchor == rule["alert"].lower()
        assert anchor in entries, f"{rule['alert']} has no entry in {page}"
        assert rule["labels"]["severity"] in ("critical", "warning", "none")
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]


def test_limits_of_alerts_are_those_of_contract_and_policy():
    by_name = {rule["alert"]: rule["expr"] for rule in rules()}
    ages = DEFAULT.refit.guardrails.ages
    strictest = min(table.quarantined.share for table in contract.TABLES.values())
    assert by_name["QuarantineShare"].endswith(f"> {strictest / 2:g}")
    assert by_name["MarketDataOld"].endswith(f"> {ages.data_red_s:g}")
    assert by_name["ModelUnconfirmed"].endswith(f"> {86400 * ages.model_amber_days:g}")


def test_the_docs_list_every_metric_with_what_it_says():
    text = DOCS.read_text()
    for family in FAMILIES:
        assert f"| `{family.name}` |" in text, f"{family.name} is not in {DOCS.name}"
        for label in family.labels:
            (row,) = re.findall(rf"^\| `{family.name}` \|.*$", text, flags=re.M)
            assert f"`{label}`" in row


def test_dashboards_are_provisioned_as_they_lie():
    uids = [json.loads(file.read_text())["uid"] for file in DASHBOARDS]
    assert uids == [file.stem for file in DASHBOARDS] and len(uids) == 3
    (source,) = document("grafana/provisioning/datasources/prometheus.yml")["datasources"]
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            assert panel["datasource"]["uid"] == source["uid"]
            assert panel["targets"] and panel["title"]
    assert source["secureJsonData"] == {"basicAuthPassword": "$PROMETHEUS_PASSWORD"}


def test_no_secret_lies_in_the_configuration():
    for file in HERE.rglob("*.*"):
        words = re.findall(
            r"(?i)(?:password|token|secret|_key)['\"]?\s*[:=]\s*(\S+)", file.read_text()
        )
        assert all(word.startswith(("$", "{", "'$")) for word in words), (file, words)
