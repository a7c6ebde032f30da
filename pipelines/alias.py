"""MLflow's alias `champion`, which follows the ledger."""

from __future__ import annotations

from crossimpact.consumer import source
from crossimpact.errors import CrossImpactError
from crossimpact.release import ledger
from pipelines.release import ASIDE_S, REQUEST_S, book
from pipelines.store.settings import Settings
from registry import tracking
from registry.tracking import CHAMPION


def follow(settings: Settings) -> str:
    """Have MLflow's alias follow the ledger; what to say where it does not.

    Nobody holds the ledger meanwhile, so whoever moved the alias looks again: the last to move it
    has seen the last line.
    """
    try:
        moved = pointed(settings)
        while (live := ledger.standing(book(settings))) and moved != live.version:
            tracking.move_alias(settings.mlflow_uri, CHAMPION, live.version)
            moved = live.version
    except Exception as error:  # whatever it is (too little memory, say), the change stands
        told = error.what if isinstance(error, CrossImpactError) else str(error)
        what = told or type(error).__name__
        return (
            f"MLflow's alias {CHAMPION} was not moved ({what}); the ledger counts, and promoting "
            "it again, or the next change, moves the alias"
        )
    return ""


def pointed(settings: Settings) -> int | None:
    """Where the alias points, asked so that a server that hangs is soon given up on."""
    return source.ask(
        settings.mlflow_uri, lambda registry: registry.alias(CHAMPION), REQUEST_S, ASIDE_S
    )
