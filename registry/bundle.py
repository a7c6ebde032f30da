"""A release as plain files: every regime's matrix and the fallback policy, under one digest.

`release.json`, `fallback.json` and one `model-<regime>.json` per fitted regime, all in canonical
bytes, and `manifest.json` with the sha256 of each. The sha256 of the manifest is the release's
digest, its first 12 hex digits its id. Reading trusts nothing: what is not byte for byte what
`write` would have written is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from crossimpact.errors import ModelError, StaleModel, UsageError
from crossimpact.model import ImpactModel, canonical_json

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
ID_LENGTH = 12
UNKNOWN = "unknown"

Rung = Literal["full", "sector_block", "self_only", "fixed_pov"]
#: The fallback ladder, best answer first; the last rung needs no model.
RUNGS: tuple[Rung, ...] = ("full", "sector_block", "self_only", "fixed_pov")

REGIME = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, eq=False)
class Release:
    """What is promoted: the models of one refit, and who answers when one is missing.

    Attributes
    ----------
    as_of
        Date the release was made for, 'YYYY-MM-DD'.
    window
        `first`, `last` (dates) and `dates` (how many) of the data.
    flow, bucket_s
        What q was, and the bucket width in seconds.
    contract_version, code_version, data_digest
        What made the numbers from which data.
    models
        Per regime; a regime without enough data is absent.
    fallback
        Per regime, and for the regime 'unknown': `rung`, `reason`, `max_pov` (fraction of volume).
    report
        Plain data. Numbers JSON cannot hold become the texts 'nan', 'inf' and '-inf'.

    Raises
    ------
    ModelError
        When the date is none, or the fallback policy and the models do not fit together.
    """

    as_of: str
    window: Mapping[str, Any]
    flow: str
    bucket_s: int
    contract_version: str
    code_version: str
    data_digest: str
    models: Mapping[str, ImpactModel]
    fallback: Mapping[str, Mapping[str, Any]]
    report: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name in ("window", "fallback", "report"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        object.__setattr__(self, "models", dict(self.models))
        self._check_date()
        if UNKNOWN not in self.fallback:
            raise ModelError(f"the fallback policy says nothing about the regime {UNKNOWN!r}")
        for regime, policy in self.fallback.items():
            self._check_policy(regime, policy)
        for regime, model in self.models.items():
            if regime not in self.fallback or model.regime != regime:
                raise ModelError(
                    f"the model filed under {regime!r} is of regime {model.regime!r}, "
                    f"and the fallback policy names {sorted(self.fallback)}"
                )

    def _check_date(self) -> None:
        try:
            date.fromisoformat(self.as_of)
        except (ValueError, TypeError) as error:
            raise ModelError(f"as_of {self.as_of!r} is not a date") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Release) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def _check_policy(self, regime: str, policy: Mapping[str, Any]) -> None:
        where = f"fallback of regime {regime!r}"
        if not REGIME.fullmatch(regime):
            raise ModelError(f"{where}: the name does not match {REGIME.pattern}")
        if set(policy) != {"rung", "reason", "max_pov"}:
            raise ModelError(f"{where} has the fields {sorted(policy)}, not rung, reason, max_pov")
        if policy["rung"] not in RUNGS:
            raise ModelError(f"{where}: rung {policy['rung']!r} is none of {', '.join(RUNGS)}")
        pov = policy["max_pov"]
        if not (isinstance(pov, (int, float)) and 0 < pov <= 1):
            raise ModelError(f"{where}: max_pov is {pov}, must be in (0, 1]")
        if policy["rung"] != "fixed_pov" and regime not in self.models:
            raise ModelError(f"{where}: rung {policy['rung']} without a model of that regime")

    def model_for(self, regime: str) -> tuple[ImpactModel | None, str, str]:
        """Who answers for `regime`: the model (None: trade at a fixed POV), the rung, the reason.

        A regime the release has never heard of is answered as 'unknown'.
        """
        known = regime if regime in self.fallback else UNKNOWN
        policy = self.fallback[known]
        rung, reason = policy["rung"], policy["reason"]
        if known != regime:
            reason = f"regime {regime!r} is not in the release; {reason}"
        if rung == "fixed_pov":
            return None, rung, reason
        model = self.models[known]
        return (model.self_only() if rung == "self_only" else model), rung, reason

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Canonical bytes of each file but the manifest."""
        fields = ("as_of", "window", "flow", "bucket_s", "contract_version", "code_version")
        head = {name: getattr(self, name) for name in (*fields, "data_digest", "report")}
        documents = {"release.json": head, "fallback.json": self.fallback}
        documents |= {f"model-{regime}.json": m.to_dict() for regime, m in self.models.items()}
        return {name: _canonical(name, document) for name, document in documents.items()}

    @cached_property
    def manifest(self) -> bytes:
        digests = {name: _sha256(content) for name, content in self.files.items()}
        return canonical_json({"schema_version": SCHEMA_VERSION, "files": digests})

    @cached_property
    def digest(self) -> str:
        """sha256 of the manifest: equal digests, equal releases."""
        return _sha256(self.manifest)

    @property
    def id(self) -> str:
        return self.digest[:ID_LENGTH]


def write(release: Release, folder: Path) -> str:
    """Write `release` as the content of `folder` and return its digest.

    The folder appears complete or not at all; an older release in it is replaced.

    Raises
    ------
    UsageError
        When the folder holds something that is not a release.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).exists():
        raise UsageError(f"{folder} holds something that is no release", "name an empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".release-") as scratch:
        draft = Path(scratch) / "new"
        draft.mkdir()
        for name, content in (release.files | {MANIFEST: release.manifest}).items():
            (draft / name).write_bytes(content)
        if folder.exists():
            folder.replace(Path(scratch) / "old")
        draft.replace(folder)
    return release.digest


def read(folder: Path, digest: str | None = None) -> Release:
    """Read and verify a release.

    Parameters
    ----------
    folder
        Where its files are.
    digest
        The digest it must have; None checks only that the files agree with each other.

    Raises
    ------
    StaleModel
        On a file too many or too few, a link, another schema version, a digest that does not
        match, or content that is no release.
    """
    contents = _contents(folder)
    if MANIFEST not in contents:
        raise _refused(folder, f"has no {MANIFEST}")
    manifest = contents.pop(MANIFEST)
    if digest is not None and _sha256(manifest) != digest:
        raise _refused(folder, f"has digest {_sha256(manifest)}, expected {digest}")
    _check_files(folder, contents, _listed(folder, manifest))
    try:
        release = _parse(contents)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refused(folder, f"does not parse: {error}") from error
    if release.files != contents or release.manifest != manifest:
        raise _refused(folder, "is not in canonical form: unknown fields or another spelling")
    return release


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: numpy unwrapped, tuples as lists, NaN and inf as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _contents(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise _refused(folder, "is missing")
    entries = sorted(folder.iterdir())
    odd = [path.name for path in entries if path.is_symlink() or not path.is_file()]
    if odd:
        raise _refused(folder, f"holds {', '.join(odd)}, not a plain file")
    return {path.name: path.read_bytes() for path in entries}


def _listed(folder: Path, manifest: bytes) -> dict[str, str]:
    try:
        data = json.loads(manifest)
        version, listed = data["schema_version"], dict(data["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise _refused(folder, f"has an unreadable {MANIFEST} ({error!r})") from error
    if version != SCHEMA_VERSION:
        raise _refused(folder, f"has schema version {version}, expected {SCHEMA_VERSION}")
    return listed


def _check_files(folder: Path, contents: Mapping[str, bytes], listed: Mapping[str, str]) -> None:
    for name in sorted(set(contents) ^ set(listed)):
        raise _refused(folder, f"{'lacks' if name in listed else 'holds unexpected'} {name}")
    for name, content in contents.items():
        found = _sha256(content)
        if found != listed[name]:
            raise _refused(folder / name, f"has sha256 {found}, expected {listed[name]}")


def _parse(contents: Mapping[str, bytes]) -> Release:
    data = {name: json.loads(content) for name, content in contents.items()}
    head, fallback = data.pop("release.json"), data.pop("fallback.json")
    models = {
        name.removeprefix("model-").removesuffix(".json"): ImpactModel.from_dict(document)
        for name, document in data.items()
    }
    return Release(**head, models=models, fallback=fallback)


def _canonical(name: str, document: Any) -> bytes:
    try:
        return canonical_json(document)
    except (ValueError, TypeError) as error:
        raise ModelError(f"{name} of the release is no plain data: {error}") from error


def _refused(where: Path, what: str) -> StaleModel:
    return StaleModel(f"release {where} {what}", "refit, or roll back to a release that verifies")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
