"""What a refit leaves of its fits: plain data per regime, then metrics and figures of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from crossimpact.estimate.bucket_costs import bucket_cross
from crossimpact.estimate.guardrail_levels import levels
from crossimpact.estimate.refit import RegimeFit
from crossimpact.model import ImpactModel
from crossimpact.panel import Panel
from crossimpact.release import bundle
from pipelines.pages import figures as drawing


def of_fit(found: RegimeFit, panel: Panel) -> dict[str, Any]:
    """A regime's fit on a window's panel as JSON can hold it; what is not finite becomes text."""
    model = found.model
    return {
        "rung": found.rung,
        "reason": found.reason,
        "metrics": bundle.plain(found.metrics),
        "stability": bundle.plain(found.stability),
        "paths": _paths(found),
        "model": model.to_dict() if model else None,
        "lower": {rung: lower.to_dict() for rung, lower in found.lower.items()},
        "certificate": found.certificate.to_dict() if found.certificate else None,
        "guardrails": levels(model, panel.of_regime(found.regime)) if model else {},
    }


def _paths(found: RegimeFit) -> dict[str, Any] | None:
    """The stability paths worth drawing, as plain data; None when nothing was ever selected."""
    penalties, shares = found.paths
    if not penalties.size or not shares.any():
        return None
    kept = found.candidates["full"].gamma != 0
    first, second = drawing.followed(shares, kept)
    ever = int(np.triu(shares.any(axis=0), 1).sum())
    return {
        "penalties": penalties.tolist(),
        "shares": shares[:, first, second].T.tolist(),
        "kept": kept[first, second].tolist(),
        "left_out": ever - len(first),
    }


def metrics(fits: Mapping[str, Any]) -> dict[str, float]:
    """Every regime's metrics under `<regime>/<name>`, which MLflow shows regime by regime."""
    return {
        f"{regime}/{name}": float(value)
        for regime, found in fits.items()
        for name, value in found["metrics"].items()
    }


def figures(
    panel: Panel, models: Mapping[str, ImpactModel], fits: Mapping[str, Any]
) -> dict[str, bytes]:
    """PNG of each regime's matrix, network, calibration and stability paths, by name.

    A model without pairs has nothing to connect or to calibrate: its empty matrix says so alone.
    """
    found = {}
    for regime, model in models.items():
        found[f"gamma-{regime}"] = drawing.heatmap(model)
        if model.edges:
            found[f"network-{regime}"] = drawing.network(model)
            found[f"calibration-{regime}"] = drawing.calibration_plot(
                *bucket_cross(model, panel.of_regime(regime)),
                _calibration_title(regime, fits[regime]["metrics"]),
            )
        if paths := fits[regime]["paths"]:
            found[f"paths-{regime}"] = drawing.stability_paths(
                np.array(paths["penalties"]),
                np.array(paths["shares"]).T,
                np.array(paths["kept"]),
                f"stability paths, regime {regime}",
                paths["left_out"],
            )
    return found


def _calibration_title(regime: str, metrics: Mapping[str, Any]) -> str:
    """What the plot shows is in sample; the verdict beside it is not."""
    title = f"cross impact by bucket, regime {regime}, IN SAMPLE"
    slope, se = (metrics.get(name) for name in ("oos_slope", "oos_slope_se"))
    if isinstance(slope, float) and isinstance(se, float):
        title += f"\n(out of sample, walk-forward: slope {slope:.2f} ± {se:.2f})"
    return title
