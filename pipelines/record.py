"""What a refit leaves of its fits: plain data per regime, then metrics and figures of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from crossimpact.errors import CrossImpactError, ModelError
from crossimpact.estimate.bucket_costs import bucket_cross
from crossimpact.estimate.lag_curve import lag_curve
from crossimpact.estimate.refit import RegimeFit
from crossimpact.ladder import Rung
from crossimpact.model import ImpactModel
from crossimpact.panel import Panel
from crossimpact.release import bundle, content
from crossimpact.release.content import Guardrail
from pipelines.pages import figures as drawing
from pipelines.pages.decay_figure import decay_curve

#: A row of plain data: what JSON can hold, by name.
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Paths:
    """The stability paths worth drawing: of each pair a share per penalty, and whether it ships;
    `left_out` counts those that were selected somewhere and are not drawn."""

    penalties: list[float]
    shares: list[list[float]]
    kept: list[bool]
    left_out: int


@dataclass(frozen=True)
class FitRecord:
    """A regime's fit as it lies in its refit's folder; numbers JSON cannot hold are text.

    Attributes
    ----------
    data_digest
        Of the features it was fitted on.
    rung, reason
        Who answers, and why not the rung above.
    metrics, stability, certificate
        Plain data for the release's report.
    paths
        None when nothing was ever selected.
    model, lower
        What ships, None when nothing could be fitted, and the models of the rungs below.
    guardrails
        Levels per quantity, empty without a model and before its decay is known.
    """

    data_digest: str
    rung: Rung
    reason: str
    metrics: Row
    stability: Sequence[Row]
    certificate: Row | None
    paths: Paths | None
    model: ImpactModel | None
    lower: Mapping[str, ImpactModel]
    guardrails: Mapping[str, Guardrail]

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON can hold it."""
        return {
            **vars(self),
            "paths": self.paths and asdict(self.paths),
            "model": self.model and self.model.to_dict(),
            "lower": {rung: model.to_dict() for rung, model in self.lower.items()},
            "guardrails": {name: level.to_dict() for name, level in self.guardrails.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FitRecord:
        """Inverse of `to_dict`; of data that are no record it raises what parsing raises."""
        paths, model = data["paths"], data["model"]
        typed = {
            "paths": paths and Paths(**paths),
            "model": model and ImpactModel.from_dict(model),
            "lower": {rung: ImpactModel.from_dict(terms) for rung, terms in data["lower"].items()},
            "guardrails": {
                name: content.read(Guardrail, level, f"guardrail {name}")
                for name, level in data["guardrails"].items()
            },
        }
        return cls(**{**data, **typed})

    @classmethod
    def read(cls, path: Path) -> FitRecord:
        """The record in a file.

        Raises
        ------
        CrossImpactError
            When it is not there or holds something else.
        """
        try:
            return cls.from_dict(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ModelError) as error:
            raise CrossImpactError(f"fit {path} cannot be read: {error}", "refit again") from error


def of_fit(found: RegimeFit, data_digest: str) -> FitRecord:
    """A regime's fit; its guardrail levels follow with its decay kernel."""
    return FitRecord(
        data_digest=data_digest,
        rung=found.rung,
        reason=found.reason,
        metrics=bundle.plain(found.metrics),
        stability=bundle.plain([row.to_dict() for row in found.stability]),
        certificate=bundle.plain(found.certificate.to_dict()) if found.certificate else None,
        paths=_paths(found),
        model=found.model,
        lower=found.lower,
        guardrails={},
    )


def _paths(found: RegimeFit) -> Paths | None:
    penalties, shares = found.paths
    if not penalties.size or not shares.any():
        return None
    kept = found.candidates["full"].gamma != 0
    first, second = drawing.followed(shares, kept)
    ever = int(np.triu(shares.any(axis=0), 1).sum())
    return Paths(
        penalties=penalties.tolist(),
        shares=shares[:, first, second].T.tolist(),
        kept=kept[first, second].tolist(),
        left_out=ever - len(first),
    )


def metrics(fits: Mapping[str, FitRecord]) -> dict[str, float]:
    """Every regime's metrics under `<regime>/<name>`, which MLflow shows regime by regime."""
    return {
        f"{regime}/{name}": float(value)
        for regime, result in fits.items()
        for name, value in result.metrics.items()
    }


def figures(
    panel: Panel, models: Mapping[str, ImpactModel], fits: Mapping[str, FitRecord]
) -> dict[str, bytes]:
    """PNG of each regime's matrix, network, calibration, stability paths and decay, by name.

    A model without pairs has nothing to connect or to calibrate: its empty matrix says so alone.
    """
    result = _kernels(panel, models)
    for regime, model in models.items():
        result[f"gamma-{regime}"] = drawing.heatmap(model)
        if model.edges:
            result[f"network-{regime}"] = drawing.network(model)
            result[f"calibration-{regime}"] = drawing.calibration_plot(
                *bucket_cross(model, panel.of_regime(regime)),
                _calibration_title(regime, fits[regime].metrics),
                _number(fits[regime].metrics.get("oos_slope")),
            )
        if paths := fits[regime].paths:
            result[f"paths-{regime}"] = drawing.stability_paths(
                np.array(paths.penalties),
                np.array(paths.shares).T,
                np.array(paths.kept),
                f"stability paths, regime {regime}",
                paths.left_out,
            )
    return result


def _kernels(panel: Panel, models: Mapping[str, ImpactModel]) -> dict[str, bytes]:
    """Each regime's decay beside what the window shows with no shape assumed."""
    timed = {regime: model for regime, model in models.items() if model.kernel is not None}
    if not timed:
        return {}
    with threadpool_limits(limits=1):  # small products: more threads wait for each other
        curve = lag_curve(panel.plausible()[0], timed)
    return {f"decay-{regime}": decay_curve(model, curve) for regime, model in timed.items()}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _calibration_title(regime: str, metrics: Row) -> str:
    """What the plot shows is in sample; the verdict beside it is not."""
    title = f"cross impact by bucket, regime {regime}, IN SAMPLE"
    slope, se = (metrics.get(name) for name in ("oos_slope", "oos_slope_se"))
    if isinstance(slope, float) and isinstance(se, float):
        title += f"\n(out of sample, walk-forward: slope {slope:.2f} ± {se:.2f})"
    return title
