"""Backup and restore of a service: its home, its databases, its artefacts.

In this order while everything runs: whatever the ledger of the home's copy names is in the
databases copied after it, and what those name is among the artefacts copied last.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from crossimpact.errors import CrossImpactError
from ops.stack import compose
from ops.stack.form import Form

DATABASES = ("airflow", "mlflow", "mlflow_auth")
#: Copied as files; the databases are dumped between them.
HOME, ARTIFACTS = "home", "artifacts"
AS_POSTGRES = 'PGPASSWORD="$POSTGRES_PASSWORD" exec "$@" -h 127.0.0.1 -p 5432 -U postgres'


def backup(form: Form, folder: Path) -> Path:
    """Copy everything that cannot be made again below a new folder; what it holds is private."""
    folder.mkdir(parents=True, mode=0o700)
    copy(form.volume(HOME), folder / HOME)
    for name in DATABASES:
        dump = run(form, "pg_dump", "--format=custom", f"--dbname={name}")
        (folder / f"{name}.dump").write_bytes(dump)
    copy(form.volume(ARTIFACTS), folder / ARTIFACTS)
    return folder


def restore(form: Form, folder: Path) -> None:
    """Fill a new service: its stores are up, it was migrated once, and nothing else runs.

    Afterwards it has to be migrated again: a dump may be of an earlier version, and the logins in
    it are by the passwords of its time.
    """
    for name in (HOME, ARTIFACTS):
        copy(folder / name, form.volume(name))
        own(form.volume(name), compose.owner(form.services, name))
    for name in DATABASES:
        run(
            form, "pg_restore", "--clean", "--if-exists", "--no-owner", f"--role={name}",
            "--exit-on-error", "--single-transaction", f"--dbname={name}",
            stdin=(folder / f"{name}.dump").read_bytes(),
        )  # fmt: skip


def run(form: Form, *command: str, stdin: bytes = b"") -> bytes:
    """What a program of PostgreSQL's prints, run beside the server as its superuser."""
    done = form.execute("postgres", ["sh", "-c", AS_POSTGRES, "sh", *command], stdin=stdin)
    if done.code:
        raise CrossImpactError(f"{command[0]} failed: {done.err.strip()[-500:]}")
    return done.out


def copy(source: Path, target: Path) -> None:
    """Copy a folder with modes and times, as it is while others write to it."""
    done = subprocess.run(
        ["cp", "-a", f"{source}/.", str(made(target))],  # noqa: S607
        capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    if done.returncode and set(vanished(done.stderr)) != {True}:
        raise CrossImpactError(f"{source} cannot be copied: {done.stderr.strip()[-500:]}")


def vanished(told: str) -> Iterator[bool]:
    """Whether each complaint is of a draft that its writer has put in its place meanwhile."""
    yield from (line.endswith("No such file or directory") for line in told.splitlines())


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def own(folder: Path, owner: tuple[int, int]) -> None:
    """Give a folder and all in it to a user and group."""
    for path in [folder, *folder.rglob("*")]:
        os.lchown(path, *owner)


def size_mb(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 2**20


def discard(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
