"""Secrets of the service: made whole and private, never replaced; a weak one is named, not told."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossimpact.errors import UsageError
from ops.stack import compose, secrets

GOOD = secrets.generate()
WEAK = {
    "missing": ("", "REDIS_PASSWORD is missing"),
    "short": ("aB3-", "REDIS_PASSWORD has 4 characters, 20 at least are needed"),
    "well known": ("changemechangemechangeme", "REDIS_PASSWORD is a well-known value"),
    "well known with digits": ("Airflow-2026-airflow-2026", "REDIS_PASSWORD is a well-known value"),
    "breaks an address": ("abcdefghijkl@mnopqrstuvwx/", "characters other than letters"),
    "one letter": ("xyxyxyxyxyxyxyxyxyxyxyxy", "2 different characters"),
    "another's": (GOOD["POSTGRES_PASSWORD"], "REDIS_PASSWORD is the same as POSTGRES_PASSWORD"),
}


def test_what_is_made_is_good_private_and_never_the_same(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a", "b")]
    for file in files:
        secrets.make(file)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first, second = map(secrets.check, files)
    assert set(first) == set(secrets.NAMES)
    assert not set(first.values()) & set(second.values())


def test_a_file_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    secrets.make(tmp_path / "env")
    before = (tmp_path / "env").read_bytes()
    with pytest.raises(UsageError, match="is there already and is not replaced"):
        secrets.make(tmp_path / "env")
    assert (tmp_path / "env").read_bytes() == before


@pytest.mark.parametrize("kind", WEAK)
def test_a_weak_secret_is_one_line_that_does_not_repeat_it(kind: str) -> None:
    value, line = WEAK[kind]
    found = list(secrets.problems({**GOOD, "REDIS_PASSWORD": value}))
    assert len(found) == 1 and line in found[0]
    assert not value or value not in found[0]


@given(st.lists(st.sampled_from(sorted(secrets.NAMES)), min_size=1, unique=True))
def test_every_missing_secret_is_named(names: list[str]) -> None:
    left = {name: value for name, value in GOOD.items() if name not in names}
    assert {line.split()[0] for line in secrets.problems(left)} == set(names)


def test_a_file_others_can_read_is_refused_and_all_problems_are_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "env"
    secrets.make(file)
    text = file.read_text().replace(secrets.read(file)["REDIS_PASSWORD"], "redis")
    file.write_text("\n".join(line for line in text.splitlines() if "FERNET" not in line))
    file.chmod(0o644)
    assert secrets.main(["check", str(file)]) == UsageError.exit_code
    told = capsys.readouterr().err
    assert "mode 044" in told and "AIRFLOW_FERNET_KEY is missing" in told
    assert "REDIS_PASSWORD has 5 characters" in told


def test_no_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run `make secrets`"):
        secrets.check(tmp_path / "env")


def test_the_compose_file_asks_for_exactly_these() -> None:
    asked = set()
    for text in compose.texts(compose.document()["services"]):
        asked |= set(compose.lacking(text, {}))
    assert asked == set(secrets.NAMES)
