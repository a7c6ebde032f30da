"""Old or new: what a reader finds whenever the writer dies, and after a writer that fails."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossimpact import atomic
from crossimpact.atomic import move, replace_folder, replacing, write_atomic

ROOT = Path(__file__).parents[2]
#: Versions 0, 1, 2 ... of one file and of one folder of two files, as fast as they can be written.
WRITER = """
import sys
from itertools import count
from pathlib import Path
from crossimpact.atomic import replace_folder, write_atomic
root = Path(sys.argv[1])
for k in count():
    write_atomic(root / "file", f"{k} " * 20_000)
    replace_folder(root / "folder", {"a": b"%d " % k * 20_000, "b": b"%d " % k * 20_000})
"""


def whole(text: str) -> int:
    """The version a file is of, all of it."""
    words = text.split()
    assert len(words) == 20_000 and len(set(words)) == 1
    return int(words[0])


def test_a_writer_killed_at_any_moment_leaves_a_whole_version(tmp_path: Path) -> None:
    seen = -1
    for round_ in range(6):
        job = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
        while not (tmp_path / "folder" / "b").exists():
            assert job.poll() is None
            time.sleep(0.005)
        time.sleep(0.03 + 0.007 * round_)
        os.kill(job.pid, signal.SIGKILL)
        assert job.wait() == -signal.SIGKILL
        file = whole((tmp_path / "file").read_text())
        a, b = (whole((tmp_path / "folder" / name).read_text()) for name in "ab")
        assert a == b and file >= 0
        assert {path.name for path in (tmp_path / "folder").iterdir()} == {"a", "b"}
        seen = max(seen, file)
    assert seen > 0  # it did write over an older version


def test_a_reader_never_misses_a_folder_that_is_replaced(tmp_path: Path) -> None:
    replace_folder(tmp_path / "folder", {"a": b"0"})
    job = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
    try:
        while not (tmp_path / "folder" / "b").exists():
            assert job.poll() is None
        assert all((tmp_path / "folder").exists() for _ in range(20_000))
    finally:
        job.kill()
        job.wait()


def test_a_writer_that_fails_leaves_the_old_content_and_no_draft(tmp_path: Path) -> None:
    write_atomic(tmp_path / "new" / "file", "old")

    def fail() -> None:
        with replacing(tmp_path / "new" / "file") as draft:
            draft.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [(p.name, p.read_text()) for p in (tmp_path / "new").iterdir()] == [("file", "old")]


def test_replace_folder_replaces_all_files_with_and_without_an_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for exchange in (atomic._exchange, lambda one, other: False):
        monkeypatch.setattr(atomic, "_exchange", exchange)
        replace_folder(tmp_path / "folder", {"a": b"1", "b": b"2"})
        replace_folder(tmp_path / "folder", {"b": b"3"})
        assert [*tmp_path.iterdir()] == [tmp_path / "folder"]
        found = {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
        assert found == {"b": b"3"}


def test_content_is_on_disk_before_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flushed: the file, then, after the rename, its folder."""
    order: list[str] = []
    fsync = os.fsync

    def noted(handle: int) -> None:
        here = Path(os.readlink(f"/proc/self/fd/{handle}"))  # noqa: PTH115 - of a handle
        order.append(f"{here.name or here}: {(tmp_path / 'file').exists()}")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    (tmp_path / "draft").write_bytes(b"x")
    move(tmp_path / "draft", tmp_path / "file")
    assert order == ["draft: False", f"{tmp_path.name}: True"]


@pytest.mark.parametrize("folder", ["src/crossimpact", "pipelines", "registry", "expectations"])
def test_nobody_else_renames_files_into_place(folder: str) -> None:
    """`Path.replace` takes one argument, the other kinds of `replace` two or a keyword."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / folder).rglob("*.py")
        if path != Path(atomic.__file__)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if node.func.attr in ("rename", "renames")
        or (node.func.attr == "replace" and len(node.args) == 1 and not node.keywords)
        or ast.unparse(node.func) == "os.replace"
    ]
    assert found == []
