"""What the gates ask beyond a release's own report: the champion, a second refit, the shadow.

Gathered when a promotion is asked for, or ahead of it by the DAG; a reproduction that succeeded is
attested and not done again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from crossimpact.atomic import write_atomic
from crossimpact.consumer.state import age
from crossimpact.drift.turnover import edge_turnover
from crossimpact.errors import CrossImpactError, StaleModel
from crossimpact.progress import tell
from crossimpact.release import bundle, release_files, reproducible
from crossimpact.release.bundle import Release
from crossimpact.release.ledger import LiveChampion, utc
from pipelines.release import promoted
from pipelines.store.settings import Run, Settings

DAY = timedelta(days=1)
ATTESTED = "reproduced.json"
SAME = "same"  # how a verdict begins that the gate accepts


def gather(
    settings: Settings,
    candidate: Release,
    live: LiveChampion | None,
    reproduction: str,
    now: datetime,
) -> dict[str, Any]:
    """Facts by the names `gates.toml` uses; what is not known is not there.

    Parameters
    ----------
    reproduction
        The answer of `reproduced`, which runs the refit again.
    now
        When, UTC: a release may be too old to be promoted, or of the future.
    """
    facts: dict[str, Any] = {
        "coverage": coverage(candidate),
        "reproduced": reproduction,
        "age_days": round(age(candidate, utc(now)) / DAY, 2),
        "valid_for_days": settings.policy.release.valid_for_days,
    }
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
    """What the release's refit gives, run again from its features in another process: 'same bytes',
    'same within ...' (see `reproducible`), 'different: ...', or why it could not be run.

    Only 'same' is kept: what failed for want of a file or of memory may succeed once mended.
    """
    folder = _refit_folder(settings, release)
    if folder is None:
        return "not known: its refit is not in this home"
    attested = folder / ATTESTED
    if (known := _attested(attested, release)) is not None:
        return known
    verdict = _again(settings, folder, release)
    if verdict.startswith(SAME):
        write_atomic(attested, json.dumps({"release": release.digest, "verdict": verdict}))
    return verdict


def _attested(path: Path, release: Release) -> str | None:
    try:
        kept = json.loads(path.read_text())
        return str(kept["verdict"]) if kept["release"] == release.digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _shadow(path: Path) -> Any:
    try:
        return bundle.plain(json.loads(path.read_text()))
    except ValueError as error:
        raise CrossImpactError(
            f"{path} cannot be read: {error}", "run the shadow again, or remove the file"
        ) from error


def _against(settings: Settings, candidate: Release, live: LiveChampion) -> dict[str, Any]:
    """Per regime in which the champion couples names: how much of that is given up.

    A champion whose files are damaged must not keep its successor out for good: nothing is
    compared, so the gate refuses, and an override may say otherwise.
    """
    try:
        old = promoted(settings, live.digest)
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
    tell("reproduce", f"the refit of {release.id}, in a process of its own")
    with tempfile.TemporaryDirectory(prefix="crossimpact-") as scratch:
        into = Path(scratch) / "release"
        command = [sys.executable, "-m", "pipelines.evidence"]
        command += [str(settings.home), str(folder), str(into), *settings.run.words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no word"]
            return f"failed: {lines[-1]}"
        return reproducible.verdict(release, release_files.read(into))


def _main(home: str, folder: str, into: str, *run: str) -> None:
    """Run the refit whose plan lies in `folder` again and write its release to `into`."""
    from pipelines import refit
    from pipelines.plan import RefitPlan

    plan = RefitPlan.read(Path(folder) / refit.PLAN)
    settings = plan.under(Settings(Path(home), run=Run.of(*run)))
    release_files.write(refit.build(settings, plan, refit.fits(settings, plan)), Path(into))


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except (CrossImpactError, OSError) as error:
        sys.exit(str(error))
