"""What a weekly drift verdict sets in motion: MLflow's tags, the ledger's line, a demotion."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from crossimpact.release import ledger
from pipelines import ledger_events, promotion
from pipelines.drift import Result
from pipelines.store.settings import Settings
from registry import tracking


def announce(settings: Settings, result: Result, *, who: str, now: datetime) -> dict[str, Any]:
    """Demote what the evidence condemns, and write the verdict where readers look.

    The ledger comes first, so that a demotion does not wait for MLflow. Announced again, the same
    week changes nothing; a week of a release that is no longer champion is told to MLflow only.

    Returns
    -------
    dict
        `verdict`, whether the ledger has it (`recorded`), and the rungs now held (`demoted`).

    Raises
    ------
    Unavailable
        When MLflow could not be told; the ledger has been.
    """
    outcome = {"verdict": result.verdict, "recorded": False, "demoted": {}}
    book = ledger.entries(settings.ledger_path)
    live, why = ledger.standing(book), _told(result)
    if live and live.digest.startswith(result.release):
        if result.demote and not ledger_events.recorded(book, "drift", who, why):
            done = promotion.demote(
                settings, result.demote, who=who, reason=f"drift {why}", now=now, of=live.digest
            )
            outcome["demoted"] = done.held
        # Last: a kill before this line leaves the week to be announced again.
        ledger_events.record(settings, "drift", who=who, reason=why, now=now, of=live.digest)
        book = ledger.entries(settings.ledger_path)
        outcome["recorded"] = ledger_events.recorded(book, "drift", who, why)
    _note(settings, result)
    return outcome


def _told(result: Result) -> str:
    """The week's verdict, and why wherever it is not ok."""
    rows = ((k, row) for k, row in result.regimes.items() if row["verdict"] != "ok")
    why = "; ".join(f"{regime} {row['verdict']}, {row['reason']}" for regime, row in rows)
    return f"{result.verdict} {result.as_of}" + (f": {why}" if why else "")


def _note(settings: Settings, result: Result) -> None:
    rows = result.regimes.items()
    tags = {f"drift.{k}": f"{row['verdict']} {result.as_of}: {row['reason']}" for k, row in rows}
    slopes = {f"drift.{k}.slope": row["slope"] for k, row in rows if row["slope"] is not None}
    tags |= {"drift": f"{result.verdict} {result.as_of}"}
    version = tracking.find(
        settings.mlflow_uri, result.release, ledger.entries(settings.ledger_path)
    )
    tracking.note(settings.mlflow_uri, version, tags, slopes, on=result.as_of)
