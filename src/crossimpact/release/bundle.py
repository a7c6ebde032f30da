"""A release as plain files: every regime's matrices, the fallback policy and the guardrails.

`release.json`, `fallback.json`, `guardrails.json`, per fitted regime and rung of the ladder
`model-<regime>-<rung>.json` (with the regime's decay kernel, where it has one) and, where names are
coupled, the pairs in `gamma-<regime>-<rung>.npy` (see `couplings`), all in canonical bytes, and
`manifest.json` with the sha256 of each. The sha256 of the manifest is the release's digest, its
first 12 hex digits its id. How they are written and read is the business of `release_files`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from crossimpact.errors import ModelError
from crossimpact.ladder import RUNGS, Rung, below
from crossimpact.model import ImpactModel, canonical_json
from crossimpact.release import content, couplings
from crossimpact.release.content import Guardrail, Guardrails, Hold, Policy, Window

#: Of a release without decay kernels, and of one with: older consumers refuse what they would price
#: without its kernel.
SCHEMA_VERSION, KERNEL_SCHEMA_VERSION = 2, 3
#: Of one whose guardrails tell the percentiles of their window.
PERCENTILES_SCHEMA_VERSION = 4
SCHEMA_VERSIONS = (SCHEMA_VERSION, KERNEL_SCHEMA_VERSION, PERCENTILES_SCHEMA_VERSION)
MANIFEST = "manifest.json"
ID_LENGTH = 12
UNKNOWN = "unknown"

REGIME = re.compile(r"[a-z][a-z0-9_]{0,31}")


class Answer(NamedTuple):
    """Who answers for a regime: a model (None: trade at a fixed share of volume), which rung, why
    not the rung above, and the largest share of the market's volume to trade at."""

    model: ImpactModel | None
    rung: Rung
    reason: str
    max_pov: float


@dataclass(frozen=True, eq=False)
class Release:
    """What is promoted: the models of one refit, and who answers when one is missing.

    Attributes
    ----------
    as_of
        Date the release was made for, 'YYYY-MM-DD'.
    window
        The data it was fitted on.
    flow, bucket_s
        What q was, and the bucket width in seconds.
    contract_version, code_version, data_digest
        What made the numbers from which data.
    models
        Per regime what ships; a regime without enough data is absent.
    fallback
        Who answers, per regime and for the regime 'unknown'.
    report
        Plain data. Numbers JSON cannot hold become the texts 'nan', 'inf' and '-inf'.
    lower
        Per regime the models of rungs below the one that ships.
    guardrails
        Per regime and quantity (`cpi_bps`, `ibb`, `data_age_s`, `model_age_days`) the levels
        `amber` and `red`, and what the calibration window saw; see `crossimpact.policy.guardrails`.
        Older releases have levels of other quantities, which no guardrail reads.
    held
        Per demoted regime the highest `rung` allowed and the `reason`: the ledger's word on a
        promoted release, not part of its files or digest.

    Raises
    ------
    ModelError
        When the date is none, or the fallback policy and the models do not fit together.
    """

    as_of: str
    window: Window
    flow: str
    bucket_s: int
    contract_version: str
    code_version: str
    data_digest: str
    models: Mapping[str, ImpactModel]
    fallback: Mapping[str, Policy]
    report: Mapping[str, Any]
    lower: Mapping[str, Mapping[str, ImpactModel]] = field(default_factory=dict)
    guardrails: Guardrails = field(default_factory=dict)
    held: Mapping[str, Hold] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "report", plain(self.report))
        for name in ("models", "fallback", "guardrails"):
            object.__setattr__(self, name, dict(getattr(self, name)))
        lower = {regime: dict(models) for regime, models in self.lower.items() if models}
        object.__setattr__(self, "lower", lower)
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
        for regime, models in self.lower.items():
            self._check_lower(regime, models)
        for regime in self.models:
            self._check_kernels(regime)
        for regime in self.guardrails:
            if regime not in self.models:
                raise ModelError(f"guardrails of regime {regime!r}, which has no model")

    def _check_date(self) -> None:
        try:
            date.fromisoformat(self.as_of)
        except (ValueError, TypeError) as error:
            raise ModelError(f"as_of {self.as_of!r} is not a date") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Release) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def _check_policy(self, regime: str, policy: Policy) -> None:
        where = f"fallback of regime {regime!r}"
        if not REGIME.fullmatch(regime):
            raise ModelError(f"{where}: the name does not match {REGIME.pattern}")
        if policy.rung != "fixed_pov" and regime not in self.models:
            raise ModelError(f"{where}: rung {policy.rung} without a model of that regime")
        missing = set(self.lower.get(regime, ())) & {*below(policy.rung)} - {*policy.max_pov}
        if missing:
            raise ModelError(f"{where}: max_pov says nothing of {', '.join(sorted(missing))}")

    def _check_lower(self, regime: str, models: Mapping[str, ImpactModel]) -> None:
        ships = self.fallback[regime].rung if regime in self.fallback else "fixed_pov"
        allowed = below(ships)[:-1]
        for rung, model in models.items():
            if rung not in allowed or model.regime != regime:
                raise ModelError(
                    f"lower rung {rung!r} of regime {regime!r} holds a model of {model.regime!r}, "
                    f"and {ships} ships there"
                )
            if model.symbols != self.models[regime].symbols:
                raise ModelError(f"lower rung {rung!r} of regime {regime!r} has other symbols")

    def _check_kernels(self, regime: str) -> None:
        shipped = self.models[regime].kernel
        for rung, model in self.lower.get(regime, {}).items():
            if model.kernel != shipped:
                raise ModelError(
                    f"rung {rung!r} of regime {regime!r} has another decay kernel than what ships",
                    "a regime has one kernel",
                )
        if shipped is not None and abs(60 * shipped.bucket_min - self.bucket_s) > 1e-6:
            raise ModelError(
                f"the decay kernel of regime {regime!r} is of buckets of "
                f"{60 * shipped.bucket_min:g} s, the release of {self.bucket_s} s"
            )

    def model_for(self, regime: str, at_most: Rung = "full") -> Answer:
        """Who answers for `regime`; one the release has never heard of is answered as 'unknown'.

        `at_most` is the highest rung that a guardrail allows.
        """
        known = regime if regime in self.fallback else UNKNOWN
        policy, held = self.fallback[known], self.held.get(known)
        rung, reason = policy.rung, policy.reason
        if known != regime:
            reason = f"regime {regime!r} is not in the release; {reason}"
        if held and RUNGS.index(held.rung) > RUNGS.index(rung):
            rung, reason = self._available(known, held.rung), held.reason
        if RUNGS.index(at_most) > RUNGS.index(rung):
            rung, reason = self._available(known, at_most), f"the guardrail allows {at_most}"
        return Answer(self._model(known, rung), rung, reason, policy.max_pov[rung])

    def _available(self, regime: str, at_most: str) -> Rung:
        """The highest rung from `at_most` down that has numbers."""
        has = {*self.lower.get(regime, {}), "self_only", "fixed_pov"}
        return next(rung for rung in RUNGS[RUNGS.index(at_most) :] if rung in has)

    def _model(self, regime: str, rung: str) -> ImpactModel | None:
        if rung == "fixed_pov":
            return None
        shipped = self.models[regime]
        if rung == self.fallback[regime].rung:
            return shipped.self_only() if rung == "self_only" else shipped
        return self.lower.get(regime, {}).get(rung) or shipped.self_only()

    def rungs(self, regime: str) -> dict[str, ImpactModel]:
        """Every rung of a fitted regime that has a model of its own, best first."""
        return {self.fallback[regime].rung: self.models[regime], **self.lower.get(regime, {})}

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Canonical bytes of each file but the manifest."""
        tables = {f"gamma-{name}.npy": couplings.pack(model) for name, model in self._named()}
        return self._texts() | {name: content for name, content in tables.items() if content}

    def _texts(self) -> dict[str, bytes]:
        """Those of them that are JSON."""
        fields = ("as_of", "flow", "bucket_s", "contract_version", "code_version", "data_digest")
        head = {name: getattr(self, name) for name in (*fields, "report")}
        documents: dict[str, Any] = {
            "release.json": {**head, "window": self.window.to_dict()},
            "fallback.json": {name: policy.to_dict() for name, policy in self.fallback.items()},
            "guardrails.json": {
                regime: {name: level.to_dict() for name, level in levels.items()}
                for regime, levels in self.guardrails.items()
            },
            **{f"model-{name}.json": model.terms() for name, model in self._named()},
        }
        return {name: _canonical(name, document) for name, document in documents.items()}

    def _named(self) -> list[tuple[str, ImpactModel]]:
        """Every model of every rung under `<regime>-<rung>`."""
        return [
            (f"{regime}-{rung}", model)
            for regime in self.models
            for rung, model in self.rungs(regime).items()
        ]

    @property
    def schema_version(self) -> int:
        """What a consumer must know to read it."""
        if any(row.percentiles for rows in self.guardrails.values() for row in rows.values()):
            return PERCENTILES_SCHEMA_VERSION
        kernels = any(model.kernel is not None for model in self.models.values())
        return KERNEL_SCHEMA_VERSION if kernels else SCHEMA_VERSION

    @cached_property
    def manifest(self) -> bytes:
        digests = {name: sha256(content) for name, content in self.files.items()}
        return canonical_json({"schema_version": self.schema_version, "files": digests})

    @cached_property
    def digest(self) -> str:
        """sha256 of the manifest: equal digests, equal releases."""
        return sha256(self.manifest)

    @property
    def id(self) -> str:
        return self.digest[:ID_LENGTH]


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


def parse(files: Mapping[str, bytes]) -> Release:
    """Inverse of `Release.files`: of content that is no release it raises what parsing raises.

    Raises
    ------
    ModelError
        Also when a file is spelt otherwise, or holds more, than the release would write.
    """
    texts = {name: data for name, data in files.items() if name.endswith(".json")}
    documents = {name: json.loads(data) for name, data in texts.items()}
    head = documents.pop("release.json")
    head["window"] = content.read(Window, head["window"], "window")
    fallback = {
        regime: content.read(Policy, policy, f"fallback of regime {regime!r}")
        for regime, policy in documents.pop("fallback.json").items()
    }
    guardrails = {
        regime: {
            name: content.read(Guardrail, level, f"guardrail {name} of regime {regime!r}")
            for name, level in levels.items()
        }
        for regime, levels in documents.pop("guardrails.json").items()
    }
    tables = {name: data for name, data in files.items() if name not in texts}
    models: dict[str, ImpactModel] = {}
    lower: dict[str, dict[str, ImpactModel]] = {}
    for name, terms in documents.items():
        regime, rung = name.removeprefix("model-").removesuffix(".json").split("-")
        pairs = couplings.unpack(tables.pop(f"gamma-{regime}-{rung}.npy", None), len(terms["adv"]))
        model = ImpactModel.from_dict({**terms, "gamma": pairs})
        if rung == fallback[regime].rung:
            models[regime] = model
        else:
            lower.setdefault(regime, {})[rung] = model
    release = Release(**head, models=models, lower=lower, fallback=fallback, guardrails=guardrails)
    if tables or release._texts() != texts:
        raise ModelError("it is not in canonical form: unknown fields or another spelling")
    return release


def _canonical(name: str, document: Any) -> bytes:
    try:
        return canonical_json(document)
    except (ValueError, TypeError) as error:
        raise ModelError(f"{name} of the release is no plain data: {error}") from error


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
