"""Answers of the ledger of audits as people read them; `--json` has everything."""

from __future__ import annotations

from cli.views import Data

SHOWN = 15  # dates of a rule's trend


def history(result: Data) -> Data:
    """A rule: since when, its last dates, and the worst places, a row each."""
    name = ".".join(filter(None, (result["table"], result["rule"])))
    return {
        "rule": name,
        "broken since": result["since"] or "not broken now",
        "first seen": result["first_seen"] or "",
        **{status: result[status] for status in ("open", "released", "superseded")},
        "dates": [
            {name: row[name] for name in ("date", "open", "released", "superseded", "first_seen")}
            for row in result["dates"][-SHOWN:]
        ],
        "said": result["digests"],
        "places": _places(result["places"]),
    }


def day(result: Data) -> Data:
    """A date: what is live and stale, every entry, then rules, problems and places."""
    entries = [
        {name: entry[name] for name in ("entry", "run", "at", "kind", "landed", "quarantined")}
        for entry in result["entries"]
    ]
    files = [{name: file[name] for name in ("path", "rows", "sha256")} for file in result["files"]]
    return {
        "date": result["date"],
        "live": result["live"],
        "stale": result["stale"],
        "entries": entries,
        "tables": result["tables"],
        "rules": result["rules"],
        "problems": result["problems"],
        "files": [file | {"sha256": file["sha256"][:12]} for file in files],
        "places": _places(result["places"]),
    }


def _places(places: Data) -> list[Data]:
    return [{"by": place, **row} for place, found in places.items() for row in found]
