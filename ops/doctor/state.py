"""Checks of what a home holds: ledger, champion, and the code that wrote its partitions."""

from __future__ import annotations

from crossimpact import __version__
from crossimpact.consumer.state import expired
from crossimpact.errors import StaleModel
from crossimpact.release import hash_chain, release_files
from crossimpact.release import ledger as books
from crossimpact.release.ledger import utc
from ops.doctor.check import Check, Clock, ok, warn, wrong
from pipelines.monitoring.home import STEPS
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

RESTORE = "keep both files as evidence, restore ledger and .head from a copy"


def ledger(settings: Settings, now: Clock) -> Check:
    """Whether every line verifies, and the head agrees."""
    try:
        verdict = books.verify(settings.ledger_path)
    except StaleModel as error:  # its head cannot be read
        return wrong(error.what, todo=RESTORE)
    if not verdict.usable:
        return wrong(f"line {verdict.line}: {verdict.problem}", todo=RESTORE)
    if not verdict.ok:
        todo = "an append cut short is dropped by the next one; if it was none, find its writer"
        return warn(f"line {verdict.line}: {verdict.problem}", todo=todo)
    return ok(f"{verdict.lines} lines")


def champion(settings: Settings, now: Clock) -> Check:
    """Whether somebody answers, with files that verify and have not expired."""
    _, verdict = hash_chain.read(settings.ledger_path)
    live = books.standing(books.entries(settings.ledger_path)) if verdict.usable else None
    if live is None:
        return warn("none", todo="`crossimpact refit` and `crossimpact promote`")
    try:
        release = release_files.read(settings.releases / live.digest, live.digest)
    except StaleModel as error:
        return wrong(error.what, todo="`crossimpact show` fetches it from the registry again")
    policy = settings.policy.release
    if why := expired(release, utc(now()), policy.valid_for):
        return wrong(why, f"{policy.valid_for_days} days", "refit and promote: nobody answers now")
    return ok(f"{release.id} as of {release.as_of}")


def code(settings: Settings, now: Clock) -> Check:
    """Whether the last accepted date was written by the code that is here."""
    from pipelines.audit.rules import inputs

    warehouse = Warehouse(settings)
    dates = {d for step in STEPS["accepted"] for d in warehouse.dates(*step)}
    if not dates:
        return ok("nothing was accepted yet")
    last = max(dates)
    manifests = [m for step in STEPS["accepted"] if (m := warehouse.manifest(*step, last))]
    versions = {manifest.code_version for manifest in manifests} - {__version__}
    if versions:
        todo = "run the same version everywhere; the next run writes anew"
        return warn(f"{last} was written by {', '.join(sorted(versions))}", __version__, todo)
    here = inputs()
    if any(not here.items() <= dict(manifest.inputs).items() for manifest in manifests):
        return warn(f"{last} was judged by other rules", todo="the next run judges it again")
    return ok(f"{__version__}, as {last}")
