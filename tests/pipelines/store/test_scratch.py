"""Work in progress: private, cleared away, also what a killed process left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from pipelines.store import scratch


def test_a_folder_is_private_and_goes_with_its_work(tmp_path: Path) -> None:
    with scratch.folder(tmp_path) as one, scratch.folder(tmp_path) as other:
        assert one != other and one.is_dir() and other.is_dir()
        (one / "spill").write_text("x")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_a_killed_process_left_is_cleared_by_the_next_and_what_works_is_not(
    tmp_path: Path,
) -> None:
    code = (
        "import sys; from pathlib import Path; from pipelines.store import scratch\n"
        "with scratch.folder(Path(sys.argv[1])) as place:\n"
        "    (place / 'spill').write_text('x'); print(place, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    left = Path(process.stdout.readline().strip())
    with scratch.folder(tmp_path):
        assert (left / "spill").exists()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (left / "spill").exists()
    with scratch.folder(tmp_path):
        assert not left.exists()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_home_that_cannot_be_written_works_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "tmp").write_text("a file where the folder should be")
    with scratch.folder(tmp_path) as place:
        assert place.is_dir() and tmp_path not in place.parents
    assert not place.exists()
