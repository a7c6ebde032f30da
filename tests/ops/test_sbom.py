"""The bill of materials: every package of the lock, once, by the fields CycloneDX asks for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from typing import Any

import pytest

from crossimpact.errors import UsageError
from ops import sbom
from ops.airflow_env import ROOT
from ops.sbom import LOCK, Package, bill, locked


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    result: dict[str, Any] = json.loads(sbom.text())
    return result


def test_every_package_of_the_lock_is_a_component(found):
    pins = re.findall(r"^([\w.-]+)(?:\[.*?\])?==(\S+)", LOCK.read_text(), flags=re.M)
    components = {(one["name"], one["version"]) for one in found["components"]}
    assert len(components) == len(found["components"]) == len(pins) > 200
    assert {version for _, version in components} == {version for _, version in pins}


def test_required_fields_of_cyclonedx_are_there_and_well_formed(found):
    assert (found["bomFormat"], found["specVersion"], found["version"]) == ("CycloneDX", "1.5", 1)
    uuid.UUID(found["serialNumber"].removeprefix("urn:uuid:"))
    assert found["serialNumber"].startswith("urn:uuid:")
    assert {"type", "name", "version"} <= set(found["metadata"]["component"])
    for one in found["components"]:
        assert one["type"] == "library" and one["name"] and one["version"]
        assert one["purl"] == one["bom-ref"] == f"pkg:pypi/{one['name']}@{one['version']}"
        assert one["hashes"]
        for hashed in one["hashes"]:
            assert hashed["alg"] == "SHA-256" and re.fullmatch("[0-9a-f]{64}", hashed["content"])
        assert len({hashed["content"] for hashed in one["hashes"]}) == len(one["hashes"])
        for licence in one.get("licenses", []):
            assert set(licence) in ({"license"}, {"expression"})
    assert sum("licenses" in one for one in found["components"]) > 150


def test_dependencies_name_components_alone(found):
    refs = {one["bom-ref"] for one in found["components"]}
    ours, *rest = found["dependencies"]
    assert ours["ref"] == found["metadata"]["component"]["bom-ref"]
    assert {one["ref"] for one in rest} == refs == set(ours["dependsOn"])
    needs = {one["ref"]: one["dependsOn"] for one in rest}
    assert all(set(needed) <= refs for needed in needs.values())
    pandas = next(ref for ref in refs if ref.startswith("pkg:pypi/pandas@"))
    assert any(ref.startswith("pkg:pypi/numpy@") for ref in needs[pandas])


def test_the_same_lock_gives_the_same_bytes_in_another_process(found, tmp_path):
    file = tmp_path / "sbom.json"
    done = subprocess.run(
        [sys.executable, "-m", "ops.sbom", str(file)], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(file.read_text()) == found
    assert file.read_text() == json.dumps(found, indent=1, sort_keys=True) + "\n"
    other = bill([Package("a", "1", ("0" * 64,))])["serialNumber"]
    assert other != found["serialNumber"]


def test_a_package_without_a_hash_is_refused():
    with pytest.raises(UsageError, match="duckdb has no hash in the lock; run `make lock`"):
        locked("duckdb==2.0.0\n")
    assert locked("A.b==1 \\\n    --hash=sha256:" + "0" * 64)[0].name == "a-b"
