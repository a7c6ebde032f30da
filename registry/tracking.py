"""Releases in MLflow: one run per refit, one model version per release, moved by alias.

A version's artefacts are the release's plain files; nothing is pickled and nothing is executed on
the way back. MLflow lets any editor change tags, aliases and artefacts, so `resolve` verifies what
it reads, against the ledger for every version that was ever champion. Writing is MLflow's client's
business, reading is `source`'s.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from crossimpact.consumer import address, lookup, source
from crossimpact.consumer.address import FOLDER, MODEL
from crossimpact.consumer.lookup import RELEASE_ID
from crossimpact.consumer.source import Source
from crossimpact.consumer.version import Version
from crossimpact.errors import CrossImpactError, StaleModel
from crossimpact.release import hash_chain, ledger, release_files
from crossimpact.release.bundle import Release
from crossimpact.release.ledger import Entry
from registry import artifacts, connection, pages
from registry.connection import session
from registry.pages import CARD, EXPERIMENT

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"
#: Tag with the address of the desk's reports.
REPORTS = "reports.url"
PARAM_LENGTH = 6000
TAG_LENGTH = 5000
#: A registration waits so long for another, which may be drawing its figures.
REGISTER_S = 1200.0


def register(
    uri: str,
    artifact_root: Path,
    folder: Path,
    release: Release,
    *,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    figures: Callable[[], Mapping[str, bytes]],
    card: str,
    origin: Mapping[str, str] = MappingProxyType({}),
) -> Version:
    """Log the refit as a run, register its release as a version and alias it `challenger`.

    A release that already is a version is not registered again, unless its files were damaged.

    Parameters
    ----------
    uri
        Tracking and registry server, or `sqlite:///<file>`.
    artifact_root
        Where artefacts lie with SQLite, `artifacts` beside its file; a server has its own place.
    folder
        The release's files, as `release_files.write` left them.
    params, metrics
        Of the run. Non-finite metrics are named in the run's tag `metrics_not_finite` instead.
    figures
        Gives PNG bytes by name; not asked when the release is known.
    card
        The model card in Markdown: an artefact, and the version's description.
    origin
        Tags of the run and the version that say what made them, an orchestrator's run, say.
    """
    release_files.read(folder, release.digest)
    with session(uri) as client, hash_chain.hold(artifact_root.with_suffix(".lock"), REGISTER_S):
        known = source.ask(uri, lambda registry: _whole(registry, release.digest))
        if known is None:
            run = _start(client, uri, release, card, origin)
            _log_numbers(client, run, release, params, metrics)
            _log_files(client, uri, run, folder, release, figures(), card)
            known = _create(client, run, release, card, origin)
        client.set_registered_model_alias(MODEL, CHALLENGER, str(known.version))
        return find(uri, CHALLENGER)


def versions(uri: str) -> list[Version]:
    """Every registered release, newest first."""
    return source.ask(uri, lambda registry: registry.by_digest(""))


def find(uri: str, which: str, book: Sequence[Entry] = ()) -> Version:
    """The version of an alias, or of a release id (the first 12 or more digits of its digest).

    A release that was ever champion is found by the ledger's entries, whatever its tags say now.

    Raises
    ------
    StaleModel
        When there is none.
    UsageError
        When the id fits several releases, or is neither alias nor id.
    """
    return source.ask(uri, lambda registry: lookup.find(registry, which, book))


def resolve(uri: str, which: str, book: Sequence[Entry] = ()) -> tuple[Release, Version]:
    """The release behind an alias or id, listed before it is read, and verified.

    Parameters
    ----------
    uri
        Tracking and registry server, or `sqlite:///<file>`.
    which
        Alias or release id.
    book
        The ledger's entries; of a version that was ever champion their digest is the one that
        counts.

    Raises
    ------
    StaleModel
        When there is none, or its files are not what was promoted (or registered).
    """
    if address.absent(uri):
        raise StaleModel(
            f"no release {which}: nothing was registered", "run `crossimpact refit` first"
        )
    release, version = source.ask(uri, lambda registry: _resolve(registry, which, book))
    if RELEASE_ID.fullmatch(which) and not release.digest.startswith(which):
        raise StaleModel(f"version {version.version} of {MODEL} is {release.id}, not {which}")
    return release, version


def move_alias(uri: str, alias: str, version: int) -> None:
    """Point `alias` at a version: one write, so a reader sees the old one or the new one."""
    with session(uri) as client:
        client.set_registered_model_alias(MODEL, alias, str(version))


def note(
    uri: str,
    version: Version,
    tags: Mapping[str, str],
    metrics: Mapping[str, float] = MappingProxyType({}),
    on: str = "",
) -> None:
    """Tag a version and its run with what was found out later, drift or gates, say.

    Parameters
    ----------
    tags
        A tag that is there is replaced.
    metrics
        Of the run, a curve over its age in days. What is not finite is left out.
    on
        Date the metrics speak of, 'YYYY-MM-DD'; needed with them.
    """
    from mlflow.entities import Metric, RunTag

    points = [
        Metric(name, float(value), _millis(on), _age(version, on))
        for name, value in metrics.items()
        if math.isfinite(value)
    ]
    short = {name: text[:TAG_LENGTH] for name, text in tags.items()}
    with session(uri) as client:
        for name, text in short.items():
            client.set_model_version_tag(MODEL, str(version.version), name, text)
        client.log_batch(
            version.run_id,
            metrics=points,
            tags=[RunTag(name, text) for name, text in short.items()],
        )


def _start(
    client: MlflowClient, uri: str, release: Release, card: str, origin: Mapping[str, str]
) -> str:
    """A new run of the release; one that an interrupted registration left is marked killed."""
    experiment = _experiment(client, uri)
    for left in client.search_runs([experiment], f"tags.digest = '{release.digest}'"):
        client.set_terminated(left.info.run_id, "KILLED")
    name = f"{release.as_of} {release.id}"
    note = {
        "mlflow.note.content": pages.description(card, origin.get(REPORTS, "")),
        "mlflow.user": connection.user(),
    }
    tags = {**pages.tags(release), **pages.RUN_TAGS, **note, **origin}
    run = client.create_run(experiment, tags=tags, run_name=name)
    return str(run.info.run_id)


def _experiment(client: MlflowClient, uri: str) -> str:
    with _unless_there():
        if client.get_experiment_by_name(EXPERIMENT) is None:
            location = None if address.is_server(uri) else artifacts.ROOT
            client.create_experiment(EXPERIMENT, location, pages.EXPERIMENT_TAGS)
    result = client.get_experiment_by_name(EXPERIMENT)
    if result is None:
        raise CrossImpactError(f"experiment {EXPERIMENT} was deleted", "restore it in MLflow")
    return str(result.experiment_id)


def _log_numbers(
    client: MlflowClient,
    run: str,
    release: Release,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

    finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
    odd = sorted(set(metrics) - set(finite))
    if odd:
        client.set_tag(run, "metrics_not_finite", ", ".join(odd))
    at = _millis(release.as_of)
    client.log_batch(
        run,
        metrics=[Metric(name, float(value), at, 0) for name, value in finite.items()],
        params=[Param(name, str(value)[:PARAM_LENGTH]) for name, value in params.items()],
    )
    name = f"{release.flow} {release.window.first}..{release.window.last}"
    digest = release.data_digest
    profile = {**release.window.to_dict(), "bucket_s": release.bucket_s}
    data = Dataset(name, digest[:36], "local", digest, profile=json.dumps(profile))
    context = InputTag("mlflow.data.context", "calibration")
    client.log_inputs(run, datasets=[DatasetInput(data, [context])])


def _log_files(
    client: MlflowClient,
    uri: str,
    run: str,
    folder: Path,
    release: Release,
    figures: Mapping[str, bytes],
    card: str,
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for name, text in {CARD: card, **pages.files(release)}.items():
            (Path(scratch) / name).write_text(text)
        for name, png in figures.items():
            (Path(scratch) / f"{name.removesuffix('.png')}.png").write_bytes(png)
        artifacts.log(client, uri, run, Path(scratch))
    artifacts.log(client, uri, run, folder, FOLDER)
    client.set_terminated(run)


def _create(
    client: MlflowClient, run: str, release: Release, card: str, origin: Mapping[str, str]
) -> Version:
    with _unless_there():
        client.create_registered_model(MODEL)
    if client.get_registered_model(MODEL).description != pages.ABOUT:
        client.update_registered_model(MODEL, pages.ABOUT)
    source = client.get_run(run).info.artifact_uri
    text = pages.description(card, origin.get(REPORTS, ""))
    told = {**pages.tags(release), **origin}
    created = client.create_model_version(MODEL, source, run, tags=told, description=text)
    return Version.of(created.version, run, (), told)


def _millis(day: str) -> int:
    """Start of a date in MLflow's time."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)


def _age(version: Version, on: str) -> int:
    """Days since the release's date; none where somebody edited that tag into something else."""
    try:
        return (date.fromisoformat(on) - date.fromisoformat(version.as_of)).days
    except ValueError:
        return 0


@contextmanager
def _unless_there() -> Iterator[None]:
    """Create what is missing; another process may be first."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _resolve(registry: Source, which: str, book: Sequence[Entry]) -> tuple[Release, Version]:
    version = lookup.find(registry, which, book)
    promoted = ledger.record(book, version.version)
    return _read(registry, version, (promoted and promoted.new) or version.digest), version


def _read(registry: Source, version: Version, digest: str) -> Release:
    files = registry.files(version.version)
    return release_files.verified(files, digest, f"version {version.version} of {MODEL}")


def _whole(registry: Source, digest: str) -> Version | None:
    """The newest version of that digest whose files verify."""
    for version in registry.by_digest(digest):
        with suppress(StaleModel):
            _read(registry, version, digest)
            return version
    return None
