"""`allowances.toml`: what a guardrail state allows, by the desk's own file."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossimpact.errors import UsageError
from crossimpact.policy import allowances
from crossimpact.policy.state import ALLOWED, Allowance


def test_a_state_that_is_named_allows_what_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "allowances.toml"
    assert allowances.read(path) == {}
    path.write_text("[amber]\npov_share = 0.5\nnames_share = 0.4\n")
    amber = Allowance(0.5, 0.4, aggressive=False, rung="sector_block")  # the rest as shipped
    assert allowances.read(path) == {"amber": amber}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[amber]\npov_share = 1.5\n", "pov_share"),
        ("[amber]\ncolour = 1\n", "colour"),
        ("[blue]\npov_share = 1.0\n", "blue"),
        ("amber = 1\n", "Expected"),
        ("[amber", "cannot be read"),
        ("[amber]\npov_share = 0.2\naggressive = false\n", "red has pov_share 0.3, amber 0.2"),
        ("[red]\npov_share = 0.2\nnames_share = 0.1\naggressive = true\n", "red has aggressive"),
        ("[amber]\naggressive = false\npov_share = 0.7\nnames_share = 0.5\n"
         "critical_only = true\n[red]\npov_share = 0.1\nnames_share = 0.1\n"
         "critical_only = false\n", "red has critical_only False, amber True"),
        ('[red]\nrung = "full"\n', "red has rung full, amber sector_block"),
        ('[red]\nrung = "guess"\n', "rung"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_by_what_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "allowances.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        allowances.read(path)


def test_the_shipped_states_allow_less_from_one_to_the_next(tmp_path: Path) -> None:
    lines = [
        f"[{name}]\npov_share = {told.pov_share}\nnames_share = {told.names_share}\n"
        f"aggressive = {str(told.aggressive).lower()}\n"
        f"critical_only = {str(told.critical_only).lower()}\n"
        f'rest_share = {told.rest_share}\nrung = "{told.rung}"\n'
        for name, told in ALLOWED.items()
    ]
    path = tmp_path / "allowances.toml"
    path.write_text("".join(lines))
    assert allowances.read(path) == dict(ALLOWED)
