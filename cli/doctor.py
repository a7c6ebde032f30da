"""`crossimpact doctor`: what is wrong on this machine and in this home, and what to do."""

from __future__ import annotations

import sys
from dataclasses import asdict

import typer

from cli.console import show
from cli.options import Home, Json, known_home, now

app = typer.Typer()


@app.command(rich_help_panel="Operation")
def doctor(home: Home = None, json_: Json = False) -> None:
    """Check versions, clocks, encodings, disk, ledger, registry, permissions (exit 1: wrong)."""
    place = known_home(home)
    from ops.doctor import examine

    found = examine(place, now)
    bad = [check.check for check in found if check.state == "wrong"]
    rows = [asdict(check) for check in found]
    if json_:
        show({"ok": not bad, "checks": rows}, as_json=True)
    else:
        shown = [{"check": one.check, "state": one.state, "why": str(one)} for one in found]
        show({"wrong": ", ".join(bad) or "nothing", "checks": shown}, as_json=False)
    sys.exit(1 if bad else 0)
