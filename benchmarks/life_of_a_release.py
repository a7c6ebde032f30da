"""A release's life, told by the command line itself: docs/transcript.md.

A desk of 12 names whose cross impact is gone from its 36th day on: refitted, promoted, refused,
found to have drifted, demoted and rolled back. Prints Markdown; about six minutes.

    python benchmarks/life_of_a_release.py > docs/transcript.md
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ENV = {"CROSSIMPACT_USER": "ann", "COLUMNS": "110", "NO_COLOR": "1", "TERM": "dumb"}
DAYS = 50
SIMULATE = f"simulate desk --symbols 12 --days {DAYS} --seed 5 --fade 0 --fade-days 15"


def say(text: str) -> None:
    print(f"\n{text}\n", flush=True)


class Desk:
    """Runs commands in one folder and shows them as a terminal would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, **ENV, "CROSSIMPACT_HOME": str(folder / "home")}

    def call(self, words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cli.main", *words.split(" ", 99)]
        return subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False
        )

    def show(self, words: str, first: int = 99) -> None:
        """The command, its first lines, and its exit code when it is not 0."""
        done = self.call(words)
        lines = [line.rstrip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        if len(lines) > first:
            lines = [*lines[:first], "..."]
        text = "\n".join(lines).replace(str(self.folder), "~")
        code = f"\n[exit {done.returncode}]" if done.returncode else ""
        print(f"```console\n$ crossimpact {words}\n{text}{code}\n```", flush=True)

    def json(self, words: str) -> dict:
        done = self.call(f"{words} --json")
        if done.returncode:
            raise SystemExit(f"{words}: {done.stderr}")
        found: dict = json.loads(done.stdout)
        return found


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        desk = Desk(Path(scratch))
        # Ten whole weeks up to now: an old release has expired for who pulls it.
        friday = np.busday_offset("today", 0, roll="backward", weekmask="Fri")
        simulate = f"{SIMULATE} --first-date {np.busday_offset(friday, 1 - DAYS)}"
        dates = desk.json(simulate)["dates"]
        print("# A release's life\n\nWritten by `benchmarks/life_of_a_release.py`; "
              f"the desk: `crossimpact {simulate}`.")  # fmt: skip
        first = desk.json(f"refit desk/landing --as-of {dates[24]}")["release"]
        say(f"## The first five weeks are refitted (release {first}), and the gates asked")
        desk.show("gates")
        desk.show("promote --reason first", first=7)
        say("## A challenger on a handful of days is refused; the champion stays")
        desk.json(f"refit desk/landing --as-of {dates[27]} --window-days 4")
        desk.show("promote")
        say("## The next refit is promoted")
        second = desk.json(f"refit desk/landing --as-of {dates[29]}")["release"]
        desk.show(f"promote --release {second} --reason monthly", first=7)
        say("## A week like those before, then three in which the coupling is gone")
        for date in (dates[34], dates[39], dates[44], dates[49]):
            desk.show(f"drift desk/landing --as-of {date}")
        say("## What a scheduler pulls now")
        desk.show("pull")
        say("## Rolled back, and written down")
        desk.show("rollback --reason drift", first=7)
        desk.show("ledger show")
        desk.show("ledger verify")
        say("## Which matrix priced a fill then?")
        lines = desk.json("ledger show")["ledger"]
        promoted = next(line["when"] for line in lines if line["release"] == second)
        desk.show(f"show --as-of {promoted}")


if __name__ == "__main__":
    main()
