"""What the gates ask beyond a release's own report: the champion, a second refit, the shadow.

Gathered when a promotion is asked for, or ahead of it by the DAG; a reproduction that succeeded is
attested and not done again.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from crossimpact.errors import CrossImpactError, StaleModel
from crossimpact.estimate.turnover import edge_turnover
from pipelines import refit
from pipelines.config import Settings
from pipelines.warehouse import write_atomic
from registry import bundle, tracking
from registry.bundle import Release
from registry.ledger import Standing

log = logging.getLogger("crossimpact.gates")

ATTESTED = "reproduced.json"


def gather(
    settings: Settings, candidate: Release, live: Standing | None, again: str
) -> dict[str, Any]:
    """Facts by the names `gates.toml` uses; what is not known is not there.

    Parameters
    ----------
    again
        What `reproduced` said; that takes its time, so it is asked before the ledger is held.
    """
    facts: dict[str, Any] = {"coverage": coverage(candidate), "reproduced": again}
    if live and live.digest != candidate.digest:
        facts["champion"] = _against(settings, candidate, live)
    shadow = settings.home / "shadow" / f"{candidate.id}.json"
    if shadow.exists():
        facts["shadow"] = _shadow(shadow)
    return facts


def coverage(release: Release) -> float:
    """Share of the window's labelled buckets whose regime a model answers."""
    buckets = {
        regime: float(metrics.get("buckets", 0))
        for regime, metrics in release.report.get("metrics", {}).items()
    }
    answered = sum(count for regime, count in buckets.items() if regime in release.models)
    return answered / sum(buckets.values()) if sum(buckets.values()) else 0.0


def reproduced(settings: Settings, release: Release) -> str:
    """'same' when the release's refit, run again from its features in another process, gives the
    same digest; else what came out or why it could not be run.

    Only 'same' is kept: what failed for want of a file or of memory may succeed once mended.
    """
    folder = _refit_folder(settings, release)
    if folder is None:
        return "not known: its refit is not in this home"
    attested = folder / ATTESTED
    if (said := _attested(attested, release)) is not None:
        return said
    log.info("gates: release %s is fitted again in another process", release.id)
    verdict = _again(settings, folder, release)
    if verdict == "same":
        write_atomic(attested, json.dumps({"release": release.digest, "verdict": verdict}))
    return verdict


def _attested(path: Path, release: Release) -> str | None:
    try:
        said = json.loads(path.read_text())
        return str(said["verdict"]) if said["release"] == release.digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _shadow(path: Path) -> Any:
    try:
        return bundle.plain(json.loads(path.read_text()))
    except ValueError as error:
        raise CrossImpactError(
            f"{path} cannot be read: {error}", "run the shadow again, or remove the file"
        ) from error


def _against(settings: Settings, candidate: Release, live: Standing) -> dict[str, Any]:
    """Per regime in which the champion couples names: how much of that is given up.

    A champion whose files are damaged must not keep its successor out for good: nothing is
    compared, so the gate refuses, and an override may say otherwise.
    """
    into = settings.home / "tmp"
    try:
        old, _ = tracking.resolve(settings.mlflow_uri, live.digest, into, settings.ledger_path)
    except StaleModel as error:
        return {name: {"edge_turnover": f"not known, {error.what}"} for name in candidate.models}
    coupled = {regime: model for regime, model in old.models.items() if model.edges}
    return {
        regime: {"edge_turnover": edge_turnover(candidate.models[regime], coupled[regime])}
        for regime in sorted(set(candidate.models) & set(coupled))
    }


def _refit_folder(settings: Settings, release: Release) -> Path | None:
    for manifest in sorted((settings.home / "refits").glob(f"*/release/{bundle.MANIFEST}")):
        if manifest.read_bytes() == release.manifest:
            return manifest.parent.parent
    return None


def _again(settings: Settings, folder: Path, release: Release) -> str:
    """A fresh process, so that neither hash seeds nor anything cached can help."""
    command = [sys.executable, "-m", "pipelines.evidence", str(settings.home), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no word"]
        return f"failed: {said[-1]}"
    digest = done.stdout.split()[-1]
    return "same" if digest == release.digest else f"different: {digest[: bundle.ID_LENGTH]}"


def _main(home: str, folder: str) -> None:
    """Print the digest of the refit whose plan lies in `folder`."""
    plan: Mapping[str, Any] = json.loads((Path(folder) / refit.PLAN).read_text())
    settings = replace(Settings(Path(home)), flow=plan["flow"], bucket_s=plan["bucket_s"])
    print(refit.build(settings, plan, refit.fits(settings, plan)).digest)


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except (CrossImpactError, OSError) as error:
        sys.exit(str(error))
