"""Releases in MLflow: one run per refit, one model version per release, moved by alias.

A version's artefacts are the release's plain files; nothing is pickled and nothing is executed on
the way back. MLflow lets any editor change tags, aliases and artefacts, so `resolve` downloads a
private copy and verifies it, against the ledger for every version that was ever champion.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from crossimpact.errors import CrossImpactError, StaleModel, Unavailable, UsageError
from registry import bundle, ledger
from registry.bundle import Release

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

EXPERIMENT = "crossimpact-refit"
MODEL = "crossimpact-gamma"
CHAMPION, CHALLENGER = "champion", "challenger"
FOLDER = "release"  # of the run's artefacts
CARD = "model_card.md"
DESCRIPTION_LENGTH = 5000  # what the registry's database holds
PARAM_LENGTH = 6000
SQLITE = "sqlite:///"
ALIAS = re.compile(r"[a-z][a-z-]{0,62}")
PASSWORD = re.compile(r"//[^/@\s]*@")
RELEASE_ID = re.compile(r"[0-9a-f]{12,64}")

#: Nothing leaves the machine; nothing hangs on a dead server; no chatter in the log.
os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")


@dataclass(frozen=True)
class Version:
    """A registered release, as MLflow tells it (its tags may lie; `resolve` verifies)."""

    version: int
    digest: str
    run_id: str
    as_of: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def id(self) -> str:
        return self.digest[: bundle.ID_LENGTH]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"id": self.id, "aliases": list(self.aliases)}


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
) -> Version:
    """Log the refit as a run, register its release as a version and alias it `challenger`.

    A release that already is a version is not registered again.

    Parameters
    ----------
    uri
        Tracking and registry server, or `sqlite:///<file>`.
    artifact_root
        Where artefacts go with SQLite; a server has its own place.
    folder
        The release's files, as `bundle.write` left them.
    params, metrics
        Of the run. Non-finite metrics are named in the run's tag `metrics_not_finite` instead.
    figures
        Gives PNG bytes by name; not asked when the release is known.
    card
        The model card in Markdown: an artefact, and the version's description.
    """
    bundle.read(folder, release.digest)
    with _session(uri) as client, ledger.hold(artifact_root.with_suffix(".lock")):
        known = _by_digest(client, release.digest)
        if not known:
            run = _start(client, uri, artifact_root, release)
            _log_numbers(client, run, release, params, metrics)
            _log_files(client, run, folder, figures(), card)
            known = [_create(client, run, release, card)]
        version = str(known[-1].version)
        client.set_registered_model_alias(MODEL, CHALLENGER, version)
        return _version(client.get_model_version(MODEL, version))


def versions(uri: str) -> list[Version]:
    """Every registered release, newest first."""
    with _session(uri) as client:
        return _search(client, f"name = '{MODEL}'")


def find(uri: str, which: str, book: Path | None = None) -> Version:
    """The version of an alias, or of a release id (the first 12 or more digits of its digest).

    A release that was ever champion is found by the ledger `book`, whatever its tags say now.

    Raises
    ------
    StaleModel
        When there is none.
    UsageError
        When the id fits several releases, or is neither alias nor id.
    """
    with _session(uri) as client:
        return _find(client, which, book)


def resolve(uri: str, which: str, into: Path, book: Path | None = None) -> tuple[Release, Version]:
    """The release behind an alias or id, downloaded once and verified.

    Parameters
    ----------
    uri
        Tracking and registry server, or `sqlite:///<file>`.
    which
        Alias or release id.
    into
        Folder in which a private copy lives while it is read.
    book
        The ledger; for a version that was ever champion its digest is the one that counts.

    Raises
    ------
    StaleModel
        When there is none, or its files are not what was promoted (or registered).
    """
    with _session(uri) as client:
        version = _find(client, which, book)
        promoted = ledger.record(ledger.entries(book), version.version) if book else None
        digest = (promoted.new if promoted else None) or version.digest
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into, prefix="release-") as private:
            _download(client, version, private)
            release = bundle.read(Path(private) / FOLDER, digest)
    if RELEASE_ID.fullmatch(which) and not release.digest.startswith(which):
        raise StaleModel(f"version {version.version} of {MODEL} is {release.id}, not {which}")
    return release, version


def move_alias(uri: str, alias: str, version: int) -> None:
    """Point `alias` at a version: one write, so a reader sees the old one or the new one."""
    with _session(uri) as client:
        client.set_registered_model_alias(MODEL, alias, str(version))


def alias_version(uri: str, alias: str) -> int | None:
    """The version an alias points at, None when there is no such alias."""
    with _session(uri) as client:
        found = _by_alias(client, alias)
        return found.version if found else None


@contextmanager
def _session(uri: str) -> Iterator[MlflowClient]:
    """A client whose failures speak of the store instead of MLflow's insides."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield _client(uri)
    except (MlflowException, SQLAlchemyError) as error:
        text = f"MLflow at {uri} failed: {str(error).splitlines()[0]}"
        raise Unavailable(
            PASSWORD.sub("//", text),
            "is the server up, or the file writable?",
        ) from error


@cache
def _client(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    if uri.startswith(SQLITE):
        Path(uri.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _start(client: MlflowClient, uri: str, artifact_root: Path, release: Release) -> str:
    """A new run of the release; one that an interrupted registration left is marked killed."""
    experiment = _experiment(client, uri, artifact_root)
    for left in client.search_runs([experiment], f"tags.digest = '{release.digest}'"):
        client.set_terminated(left.info.run_id, "KILLED")
    name = f"{release.as_of} {release.id}"
    run = client.create_run(experiment, tags=_tags(release), run_name=name)
    return str(run.info.run_id)


def _experiment(client: MlflowClient, uri: str, artifact_root: Path) -> str:
    served = urlsplit(uri).scheme in ("http", "https")
    with _unless_there():
        if client.get_experiment_by_name(EXPERIMENT) is None:
            location = None if served else artifact_root.as_uri()
            client.create_experiment(EXPERIMENT, artifact_location=location)
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        raise CrossImpactError(f"experiment {EXPERIMENT} was deleted", "restore it in MLflow")
    return str(found.experiment_id)


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
    at = int(datetime.fromisoformat(release.as_of).replace(tzinfo=UTC).timestamp() * 1000)
    client.log_batch(
        run,
        metrics=[Metric(name, float(value), at, 0) for name, value in finite.items()],
        params=[Param(name, str(value)[:PARAM_LENGTH]) for name, value in params.items()],
    )
    name = f"{release.flow} {release.window.get('first')}..{release.window.get('last')}"
    data = Dataset(name, release.data_digest[:36], "local", release.data_digest)
    context = InputTag("mlflow.data.context", "calibration")
    client.log_inputs(run, datasets=[DatasetInput(data, [context])])


def _log_files(
    client: MlflowClient, run: str, folder: Path, figures: Mapping[str, bytes], card: str
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / CARD).write_text(card)
        for name, png in figures.items():
            (Path(scratch) / f"{name.removesuffix('.png')}.png").write_bytes(png)
        client.log_artifacts(run, scratch)
    client.log_artifacts(run, str(folder), FOLDER)
    client.set_terminated(run)


def _create(client: MlflowClient, run: str, release: Release, card: str) -> Version:
    with _unless_there():
        client.create_registered_model(MODEL, description="Cross-impact releases, plain data")
    source = f"{client.get_run(run).info.artifact_uri}/{FOLDER}"
    text = card[:DESCRIPTION_LENGTH]
    created = client.create_model_version(MODEL, source, run, tags=_tags(release), description=text)
    return _version(created)


@contextmanager
def _unless_there() -> Iterator[None]:
    """Create what is missing; another process may be first."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _tags(release: Release) -> dict[str, str]:
    window = release.window
    return {
        "digest": release.digest,
        "as_of": release.as_of,
        "window": f"{window.get('first')}..{window.get('last')} ({window.get('dates')} dates)",
        "regimes": ",".join(sorted(release.models)),
        "flow": release.flow,
        "bucket_s": str(release.bucket_s),
        "contract_version": release.contract_version,
        "code_version": release.code_version,
        "data_digest": release.data_digest,
        **{f"rung.{regime}": policy["rung"] for regime, policy in release.fallback.items()},
    }


def _find(client: MlflowClient, which: str, book: Path | None) -> Version:
    if RELEASE_ID.fullmatch(which):
        found = _by_id(client, which, book)
    elif ALIAS.fullmatch(which):
        found = _by_alias(client, which)
    else:
        raise UsageError(f"{which!r} is neither an alias nor a release id of 12 or more hex digits")
    if found is None:
        raise StaleModel(f"no release {which} in {MODEL}", "run `crossimpact refit` first")
    return found


def _by_id(client: MlflowClient, which: str, book: Path | None) -> Version | None:
    for entry in reversed(ledger.entries(book) if book else []):
        if entry.action in ledger.CHANGES and str(entry.new).startswith(which):
            return _if_there(client.get_model_version, str(entry.version))
    found = _by_digest(client, which)
    if len({version.digest for version in found}) > 1:
        raise UsageError(f"{which} fits {len(found)} releases", "give more digits")
    return found[-1] if found else None


def _by_digest(client: MlflowClient, prefix: str) -> list[Version]:
    return _search(client, f"name = '{MODEL}' AND tags.digest LIKE '{prefix}%'")


def _by_alias(client: MlflowClient, alias: str) -> Version | None:
    return _if_there(client.get_model_version_by_alias, alias)


def _if_there(get: Callable[[str, str], ModelVersion], key: str) -> Version | None:
    from mlflow.exceptions import MlflowException

    try:
        return _version(get(MODEL, key))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _search(client: MlflowClient, query: str) -> list[Version]:
    """Matching versions, newest first."""
    found: list[ModelVersion] = []
    page = client.search_model_versions(query)
    while page.token:
        found += page
        page = client.search_model_versions(query, page_token=page.token)
    return sorted(map(_version, [*found, *page]), key=lambda version: -version.version)


def _download(client: MlflowClient, version: Version, private: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.download_artifacts(version.run_id, FOLDER, private)
    except (OSError, MlflowException) as error:
        raise StaleModel(
            f"the files of version {version.version} of {MODEL} cannot be had: {error}",
            "register the release again, or roll back",
        ) from error


def _version(found: ModelVersion) -> Version:
    tags = dict(found.tags)
    return Version(
        version=int(found.version),
        digest=tags.get("digest", ""),
        run_id=found.run_id or "",
        as_of=tags.get("as_of", ""),
        aliases=tuple(found.aliases or ()),
        tags=tags,
    )
