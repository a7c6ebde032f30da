"""A home's `policy.toml`: what it says counts, what it leaves out is the library's, and what is
wrong is refused by its name."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from crossimpact.errors import UsageError
from crossimpact.ladder import RUNGS
from crossimpact.release import policy
from crossimpact.release.policy import DEFAULT
from pipelines.store.settings import Settings

SHIPPED = Path(policy.__file__).with_name(policy.FILE)


def home(folder: Path, text: str) -> Settings:
    (folder / policy.FILE).write_text(text)
    return Settings(folder)


def test_the_librarys_decisions_are_those_of_the_version_before() -> None:
    """When they were constants of fourteen modules: no number of a desk moves by an upgrade."""
    assert {k: v for k, v in asdict(DEFAULT).items() if k != "retention"} == {
        "refit": {
            "window_days": 60, "false_discovery_rate": 0.2, "min_edge_bps": 0.1,
            "max_pov": {
                "full": 0.15, "sector_block": 0.12, "one_factor": 0.11, "self_only": 0.10,
                "fixed_pov": 0.05,
            },
            "guardrails": {
                "cpi": {"amber": 0.70, "red": 0.90}, "ibb": {"amber": 0.80, "red": 0.95},
                "ages": {
                    "data_amber_s": 15.0, "data_red_s": 60.0, "model_amber_days": 1.0,
                    "model_red_days": 2.0,
                },
            },
        },
        "release": {"valid_for_days": 45, "max_age_days": 3.0, "fixed_pov": 0.05},
        "drift": {"alpha": 0.04},
    }  # fmt: skip


def test_every_key_of_the_librarys_file_says_its_unit_and_a_typical_value() -> None:
    lines = SHIPPED.read_text().splitlines()
    assert tomllib.loads("\n".join(lines)) == asdict(DEFAULT)
    table = ""
    for line in lines:
        table = line if line.startswith("[") else table
        if "=" in line.split("#")[0]:
            assert "#" in line or "#" in table, line


def test_a_home_without_the_file_decides_as_the_library(tmp_path: Path) -> None:
    assert Settings(tmp_path).policy == DEFAULT


def test_a_home_keeps_what_its_file_leaves_out(tmp_path: Path) -> None:
    text = "[refit]\nmin_edge_bps = 1\n[refit.max_pov]\nfull = 0.2\n[drift]\nalpha = 0.01\n"
    found = home(tmp_path, text).policy
    assert (found.refit.min_edge_bps, found.drift.alpha) == (1.0, 0.01)
    pov = DEFAULT.refit.max_pov.by_rung() | {"full": 0.2}
    assert found.refit.max_pov.by_rung() == pov and set(pov) == set(RUNGS)
    assert found.release == DEFAULT.release and found.refit.guardrails == DEFAULT.refit.guardrails


@pytest.mark.parametrize("text", ["", "[refit]\n", SHIPPED.read_text()])
def test_an_empty_file_and_a_copy_of_the_librarys_change_nothing(tmp_path: Path, text: str) -> None:
    assert home(tmp_path, text).policy == DEFAULT


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[release]\nvalid_days = 45", "release.valid_days = 45: unknown key"),
        ("[refit.max_pov]\nbest = 0.2", "refit.max_pov.best = 0.2: unknown key"),
        ("[limits]\nalpha = 0.1", "limits: unknown key"),
        ("valid_for_days = 30", "valid_for_days = 30: unknown key"),
        ('[release]\nvalid_for_days = "45 days"', "valid_for_days = '45 days': Input should be"),
        ("[release]\nvalid_for_days = 45.5", "valid_for_days = 45.5: Input should be a valid int"),
        ("[release]\nvalid_for_days = 0", "valid_for_days = 0, must be 1 to 3650 days"),
        ("[release]\nmax_age_days = -1", "max_age_days = -1, must be days, > 0"),
        ("[release]\nmax_age_days = 2026-01-01", "max_age_days = '2026-01-01': Input should be"),
        ("[release]\nfixed_pov = 5", r"fixed_pov = 5, must be a share of volume in \(0, 1\]"),
        ("[release]\nfixed_pov = true", "release.fixed_pov = True: Input should be a valid number"),
        ("[refit.max_pov]\nfull = 15", r"full = 15, must be a share of volume in \(0, 1\]"),
        ("[refit.max_pov]\nself_only = 0", "self_only = 0, must be"),
        ("[refit.max_pov]\nself_only = nan", "self_only = nan, must be"),
        ('[refit.max_pov]\nfull = "15%"', "refit.max_pov.full = '15%': Input should be"),
        ("[refit]\nmax_pov = 0.1", "refit.max_pov = 0.1: "),
        ("[refit]\nwindow_days = 0", "window_days = 0, must be 1 to 1000 trading dates"),
        ("[refit]\nfalse_discovery_rate = 20", r"false_discovery_rate = 20, must be a share in"),
        ("[refit]\nfalse_discovery_rate = 0", r"rate = 0, must be a share in \(0, 1\)"),
        ("[refit]\nmin_edge_bps = -0.1", "min_edge_bps = -0.1, must be bps >= 0"),
        ("[refit]\nmin_edge_bps = inf", "min_edge_bps = inf, must be bps >= 0"),
        ("[refit.guardrails.cpi]\nred = 1.0", r"red = 1, must be a share in \(0, 1\)"),
        ("[refit.guardrails.ibb]\namber = 0.995", "amber = 0.995 must not exceed red = 0.95"),
        ("[refit.guardrails.ages]\ndata_red_s = 5", "data_red_s = 5 must be > 0, amber <= red"),
        ("[refit.guardrails]\namber = 0.9", "refit.guardrails.amber = 0.9: unknown key"),
        ("[drift]\nalpha = 4", r"alpha = 4, must be a share in \(0, 1\)"),
        ("alpha = ", r"policy\.toml cannot be read"),
        ("\udcff", r"policy\.toml cannot be read"),
    ],
)
def test_what_is_wrong_is_refused_by_its_name_and_value(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / policy.FILE).write_text(text, errors="surrogateescape")
    with pytest.raises(UsageError, match=told) as refused:
        _ = Settings(tmp_path).policy
    assert refused.value.exit_code == 2 and str(tmp_path / policy.FILE) in str(refused.value)


def test_every_wrong_key_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        _ = home(tmp_path, "[drift]\nalpha = 4\n[release]\nvalid = 1\nfixed_pov = 2").policy
    assert all(name in str(refused.value) for name in ("alpha = 4", "release.valid = 1"))
