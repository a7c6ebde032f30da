"""The command line's words: wrong ones fail at once and light, help is grouped, codes are fixed."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crossimpact.errors import UsageError
from crossimpact.release import ledger

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("numpy", "pyarrow", "duckdb", "pandas", "mlflow", "sklearn", "matplotlib")
#: Runs the command line in a process of its own and tells what heavy packages it imported.
RUN = f"""
import atexit, sys
from cli import main
heavy = [name for name in {HEAVY!r}]
try:
    main.main()
except SystemExit as end:
    loaded = [name for name in heavy if name in sys.modules]
    print("LOADED", *loaded, file=sys.stderr)
    raise
"""


def crossimpact(*words: object, **env: str) -> tuple[int, str, str, list[str]]:
    """Exit code, stdout, stderr, and the heavy packages that were imported."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, words)], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **env}, check=False,
    )  # fmt: skip
    lines = done.stderr.splitlines()
    told = [line for line in lines if not line.startswith("LOADED")]
    (loaded,) = [line.split()[1:] for line in lines if line.startswith("LOADED")]
    return done.returncode, done.stdout, "\n".join(told), loaded


@pytest.fixture(scope="module")
def landing(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("desk") / "landing"
    (folder / "child_fills" / "date=2026-03-02").mkdir(parents=True)
    return folder


WRONG = [
    (("refit", "{tmp}/nowhere"), "nowhere is missing"),
    (("refit", "{tmp}/empty"), "holds no date"),
    (("validate", "{tmp}/empty"), "holds no date"),
    (("validate", "{landing}/child_fills"), "one table's folder: give {landing}"),
    (("validate", "{landing}/.."), "give {landing}/../landing"),
    (("refit", "{landing}", "--as-of", "yesterday"), "'yesterday' is not a date"),
    (("refit", "{landing}", "--bucket", "soon"), "bucket width 'soon'"),
    (("show", "--as-of", "lately", "--home", "{tmp}/empty"), "'lately' is not a moment"),
    (("show", "--as-of", "2999-01-01", "--home", "{tmp}/empty"), "2999-01-01T00:00:00+00:00 is in"),
    (("show", "--as-of", "0001-01-01T00:00+14:00", "--home", "{tmp}/empty"), "is not a moment"),
    (("show", "--home", "{tmp}/circle"), "circle does not exist"),
    (("sequence", "orders.csv", "--minutes", "5"), "--minutes is for the release's decay"),
    (("sequence", "nowhere.json"), "nowhere.json is not a file"),
    (("sequence", "p.json", "--times", "0,soon"), "not a list of numbers"),
]
READING = [
    ("show",), ("gates",), ("promote",), ("rollback",), ("demote", "normal", "self_only"),
    ("pull",), ("ledger",), ("ledger", "verify"), ("drift", "{landing}"), ("tca", "{landing}"),
    ("shadow", "{landing}"),
    ("export", "violations", "{tmp}/v.csv"), ("export", "gamma", "{tmp}/g.csv"),
    ("export", "self", "{tmp}/s.csv"), ("export", "regimes", "{tmp}/r.csv"),
    ("export", "kernel", "{tmp}/k.csv"),
]  # fmt: skip


@pytest.fixture
def run(landing, tmp_path, monkeypatch, capsys):
    """The command line in this process: exit code, stdout, stderr."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    monkeypatch.setenv("COLUMNS", "80")

    def call(*words: str) -> tuple[int, str, str]:
        from cli import main

        named = [word.format(tmp=tmp_path, landing=landing) for word in words]
        monkeypatch.setattr("sys.argv", ["crossimpact", *named])
        monkeypatch.setattr("atexit.register", lambda _: None)
        with pytest.raises(SystemExit) as stopped:
            main.main()
        return int(stopped.value.code or 0), *capsys.readouterr()

    return call


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_wrong_words_are_one_line_and_exit_2(run, landing, words, said):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1
    assert said.format(landing=landing) in err


def test_wrong_words_import_nothing_heavy(landing, tmp_path):
    for words in (
        ("refit", tmp_path / "nowhere"),
        ("tca", landing, "--date", "x", "--home", tmp_path),
    ):
        code, _, _, loaded = crossimpact(*words)
        assert (code, loaded) == (2, [])


@pytest.mark.parametrize("command", ["validate", "refit", "drift", "tca", "shadow"])
def test_a_landed_date_of_the_future_is_refused(run, landing, tmp_path, command):
    zone = tmp_path / "fast"
    for day in ("2026-03-02", "2226-01-05", "2226-31-31x"):
        (zone / "child_fills" / f"date={day}").mkdir(parents=True)
    code, out, err = run(command, str(zone), "--home", "{tmp}/empty")
    assert (code, out) == (2, "")
    assert f"landing zone {zone}: 2226-01-05 is in the future, today is 20" in err


@pytest.mark.parametrize("words", READING)
def test_a_command_that_reads_a_mistyped_home_is_refused_and_makes_nothing(run, tmp_path, words):
    code, out, err = run(*words, "--home", "{tmp}/typo")
    assert (code, out) == (2, "") and "typo does not exist" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["circle", "empty"]


def test_a_homes_wrong_policy_is_named_on_one_line_and_exit_2(run, tmp_path):
    text = "[release]\nvalid = 30\n[refit.max_pov]\nfixed_pov = 5\n"
    (tmp_path / "empty" / "policy.toml").write_text(text)
    code, out, err = run("pull", "--home", "{tmp}/empty")
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert "empty/policy.toml: " in err and "fixed_pov = 5" in err and "valid = 30" in err


def test_export_violations_of_a_home_without_any_is_an_error(run, tmp_path):
    code, _, err = run("export", "violations", "{tmp}/v.csv", "--home", "{tmp}/empty")
    assert code == 2 and "nothing was validated" in err and not (tmp_path / "v.csv").exists()


def test_help_is_light_grouped_and_short(tmp_path):
    code, out, err, loaded = crossimpact("-h")
    assert (code, err, loaded) == (0, "", [])
    at = [out.index(f"─ {panel} ─") for panel in (
        "Data", "Model and release", "Measure", "Orders", "About"
    )]  # fmt: skip
    assert at == sorted(at)
    assert "--install-completion" in out and "--show-completion" in out
    assert max(map(len, out.splitlines())) <= 80


def test_version_in_every_spelling(run):
    from crossimpact import __version__

    assert run("--version") == (0, f"{__version__}\n", "")
    assert run("version") == (0, f"{__version__}\n", "")
    code, out, _ = run("version", "--json")
    assert (code, json.loads(out)) == (0, {"version": __version__})


def test_ledger_takes_home_and_json_before_or_after_its_command(run, tmp_path):
    asked = [
        run("ledger", "--json", "--home", "{tmp}/empty"),
        run("ledger", "--home", "{tmp}/empty", "show", "--json"),
        run("ledger", "show", "--json", "--home", "{tmp}/empty"),
    ]
    assert asked == [(0, '{"ledger": []}\n', "")] * 3


def test_a_problem_that_cannot_be_posed_is_a_usage_error(run, tmp_path):
    problem = {
        "times": [0, 1, 2], "volumes": [1, 3], "objective": "tthc",
        "kernel": {"type": "exponential", "rho": -1.0, "kappa": 1.0},
    }  # fmt: skip
    (tmp_path / "p.json").write_text(json.dumps(problem))
    code, out, err = run("sequence", "{tmp}/p.json")
    assert (code, out) == (2, "") and "rho" in err


@pytest.mark.parametrize("words", [("version",), ("contract",), ("-h",), ("ledger",)])
def test_a_reader_that_went_away_is_no_error(tmp_path, words):
    there, away = os.pipe()
    os.close(there)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CROSSIMPACT_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *words], stdout=away, stderr=subprocess.PIPE, env=env,
        check=False,
    )  # fmt: skip
    os.close(away)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("words", [("version",), ("version", "--json")])
def test_a_full_disk_below_stdout_is_one_line(words):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *words], stdout=full, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_a_character_the_terminal_lacks_is_shown_by_its_number(tmp_path):
    with ledger.locked(tmp_path / "ledger.jsonl") as book:
        book.append(when=datetime.now(UTC), who="J\u00fcrgen", action="fallback", why="a test")
    code, out, err, _ = crossimpact("ledger", "--home", tmp_path, PYTHONIOENCODING="ascii")
    assert (code, err) == (0, "") and "J\\xfcrgen" in out


def test_bytes_that_are_no_utf8_are_escaped_in_a_name_and_refused_in_a_reason(tmp_path):
    odd = os.fsdecode(b"eve\xff")
    code, out, _, _ = crossimpact("pull", "--home", tmp_path, CROSSIMPACT_USER=odd)
    assert code == 5 and "no release is promoted" in " ".join(out.split())
    book = ledger.entries(tmp_path / "ledger.jsonl")
    assert [line.who for line in book] == ["eve\\xff"]
    with ledger.locked(tmp_path / "ledger.jsonl") as held, pytest.raises(UsageError, match="why"):
        held.append(when=datetime.now(UTC), who="ann", action="drift", why=odd)


def test_what_is_written_is_not_for_every_user(tmp_path):
    """The umask of the caller is as open as can be."""
    before = os.umask(0)
    try:
        code, *_ = crossimpact("simulate", tmp_path / "desk", "--symbols", 1, "--days", 1)
    finally:
        os.umask(before)
    assert code == 0
    assert not [path for path in (tmp_path / "desk").rglob("*") if path.stat().st_mode & 0o007]


def test_ctrl_c_ends_at_once_with_130_and_no_traceback(tmp_path):
    words = ["simulate", str(tmp_path / "desk"), "--symbols", "40", "--days", "60"]
    job = subprocess.Popen(
        [sys.executable, "-m", "cli.main", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
    )  # fmt: skip
    said = ""
    while "1/60" not in said:
        line = job.stderr.readline()
        assert line, said
        said += line
    job.send_signal(signal.SIGINT)
    _, rest = job.communicate()
    assert job.returncode == 130 and "Traceback" not in rest
    assert not (tmp_path / "desk" / "landing").exists()


def test_stages_show_on_a_terminal_and_json_stays_alone_on_stdout(tmp_path):
    master, slave = pty.openpty()
    job = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "simulate", str(tmp_path / "desk"), "--symbols", "1",
         "--days", "2", "--json"],
        stdout=subprocess.PIPE, stderr=slave, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"},
    )  # fmt: skip
    os.close(slave)
    out, _ = job.communicate()
    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert job.returncode == 0 and len(out.splitlines()) == 1 and json.loads(out)
    assert "simulate" in shown and "2/2" in shown


@pytest.mark.parametrize("rows", [1, 500])
def test_a_reader_that_went_away_does_not_change_the_exit_code(rows):
    code = f"from cli.console import show; show({{'a': ['x y'] * {rows}, 'b': 1}}, as_json=False)"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; raise SystemExit(5)"], stdout=write, text=True,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (5, "")
