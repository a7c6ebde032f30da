"""The lock: every package by version and hash, no host, and what the stack asks for."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement

from ops.airflow_env import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
ENTRY = re.compile(
    r"^([a-z0-9.-]+)==(\S+)((?: ;[^\\\n]*)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n", re.M
)
PINS = {name: version for name, version, _ in ENTRY.findall(LOCK)}
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_line_of_the_lock_is_a_version_with_hashes() -> None:
    assert len(PINS) > 150
    assert ENTRY.sub("", LOCK).strip() == ""


def test_the_lock_names_no_host() -> None:
    assert not re.search(r"://|--index|--find-links|--trusted", LOCK)


def test_the_lock_fits_what_pyproject_asks_for() -> None:
    groups = DECLARED["dependency-groups"].values()
    for text in [
        *DECLARED["project"]["dependencies"],
        *(
            name
            for extra in DECLARED["project"]["optional-dependencies"].values()
            for name in extra
        ),
        *(name for group in groups for name in group),
    ]:
        asked = Requirement(text)
        assert asked.specifier.contains(PINS[asked.name.lower()]), text


def test_dateutil_stays_below_three() -> None:
    """4.0.0 shuts out boto3, s3fs and Airflow's FAB provider."""
    assert "python-dateutil<3" in DECLARED["project"]["optional-dependencies"]["platform"]
    assert int(PINS["python-dateutil"].split(".")[0]) < 3
