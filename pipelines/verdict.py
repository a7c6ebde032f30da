"""What a weekly drift verdict sets in motion: MLflow's tags, the ledger's line, a demotion."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pipelines import release
from pipelines.config import Settings
from pipelines.drift import Result
from registry import ledger, tracking


def announce(settings: Settings, result: Result, *, who: str, now: datetime) -> dict[str, Any]:
    """Write the verdict where readers look, and demote what the evidence condemns.

    Announced again, the same week changes nothing. A week of a release that is no longer champion
    is told to MLflow only.

    Returns
    -------
    dict
        `verdict`, whether the ledger has it (`recorded`), and the rungs now held (`demoted`).
    """
    version = tracking.find(settings.mlflow_uri, result.release, settings.ledger_path)
    rows = result.regimes.items()
    tags = {f"drift.{k}": f"{row['verdict']} {result.as_of}: {row['reason']}" for k, row in rows}
    slopes = {f"drift.{k}.slope": row["slope"] for k, row in rows if row["slope"] is not None}
    tags |= {"drift": f"{result.verdict} {result.as_of}"}
    tracking.note(settings.mlflow_uri, version, tags, slopes, on=result.as_of)
    said = {"verdict": result.verdict, "recorded": False, "demoted": {}}
    book = ledger.entries(settings.ledger_path)
    live = ledger.standing(book)
    if live is None or live.digest != version.digest:
        return said
    why = f"{result.verdict} {result.as_of}: {_told(result)}"
    if release.witnessed(book, "drift", who, why):
        return said | {"recorded": True}
    if result.demote:  # first: a kill before the line below leaves the week to be announced again
        done = release.demote(settings, result.demote, who=who, reason=f"drift {why}", now=now)
        said["demoted"] = done.held
    release.witness(settings, "drift", who=who, reason=why, now=now)
    return said | {"recorded": True}


def _told(result: Result) -> str:
    rows = result.regimes.items()
    return "; ".join(f"{regime} {row['verdict']}, {row['reason']}" for regime, row in rows)
