"""`csv_file.write`: cells no spreadsheet runs, files replaced whole, devices written through."""

from __future__ import annotations

import csv
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossimpact.errors import UsageError
from pipelines.store import csv_file

ROOT = Path(__file__).resolve().parents[3]
EVIL = ["=cmd|' /C calc'!A0", "@SUM(1)", "+1+1", "-2+3", "\t=1", "\r=1", "-", "=1"]


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as stream:
        return list(csv.reader(stream))


@pytest.mark.parametrize("text", EVIL)
def test_write_neutralises_formulas(tmp_path, text):
    csv_file.write(tmp_path / "a.csv", ["key"], [[text]])
    assert read(tmp_path / "a.csv")[1] == [f"'{text}"]


@given(st.text())
def test_cell_never_begins_a_formula_and_changes_nothing_else(text):
    cell = csv_file.cell(text)
    assert cell in (text, f"'{text}")
    if cell.startswith(csv_file.FORMULA):
        assert float(cell) == float(text)  # a number is no formula


@given(st.floats(allow_nan=False))
def test_cell_keeps_numbers_numbers(value):
    assert float(csv_file.cell(value)) == value
    assert csv_file.cell(float("nan")) == ""
    assert csv_file.cell("-1.5e-3") == "-1.5e-3"


def test_write_counts_rows_and_keeps_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "new" / "a.csv"
    assert csv_file.write(path, ["a", "b"], [["x", 1.5], ["y", None]]) == 2
    assert path.read_bytes() == b"a,b\nx,1.5\ny,\n"

    def rows():
        yield ["z", 1]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        csv_file.write(path, ["a", "b"], rows())
    assert path.read_bytes() == b"a,b\nx,1.5\ny,\n" and [*path.parent.iterdir()] == [path]


def test_write_goes_through_a_link_and_leaves_it(tmp_path):
    target, link = tmp_path / "real.csv", tmp_path / "link.csv"
    target.write_text("old")
    link.symlink_to(target)
    csv_file.write(link, ["a"], [["x"]])
    assert link.is_symlink() and target.read_text() == "a\nx\n"


def test_write_leaves_a_device_a_device(tmp_path):
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        device.open("w").close()
    except PermissionError:
        pytest.skip("making a device takes root")
    csv_file.write(device, ["a"], [["x"]])
    assert stat.S_ISCHR(device.lstat().st_mode)


@pytest.mark.parametrize("end", ["read", "closed"])
def test_write_to_stdout_reaches_the_pipe_and_a_reader_may_leave(end):
    code = (
        "from pathlib import Path; from pipelines.store import csv_file;"
        "print(csv_file.write(Path('/dev/stdout'), ['a'], ([n] for n in range(99999))),"
        " file=__import__('sys').stderr)"
    )
    before = Path("/dev/stdout").is_symlink(), Path("/dev/stdout").readlink()
    job = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if end == "closed":
        job.stdout.close()
        assert job.wait() == 0
    else:
        out, err = job.communicate()
        assert (out.count(b"\n"), err, job.returncode) == (100_000, b"99999\n", 0)
    assert (Path("/dev/stdout").is_symlink(), Path("/dev/stdout").readlink()) == before


def test_write_refuses_a_folder(tmp_path):
    with pytest.raises(UsageError, match="is a folder"):
        csv_file.write(tmp_path, ["a"], [])
