"""Guardrail levels: what the calibration window saw of CPI and IBB, and where amber and red begin.

A level is a percentile of the desk's own buckets in that regime, so it is a statement about the
desk; ages of data and model have levels of the desk's policy. Who reads them is
`crossimpact.policy.guardrails`.
"""

from __future__ import annotations

import numpy as np

from crossimpact.cost_indices import budget_burn, session_pressure
from crossimpact.estimate.decay_sums import on_slots, slots_of
from crossimpact.model import Array, ImpactModel
from crossimpact.panel import Panel
from crossimpact.release.content import PERCENTILES, Guardrail
from crossimpact.release.policy import DEFAULT, GuardrailPolicy

#: Buckets of a regime with a value; with fewer their percentiles are nobody's reference.
MIN_BUCKETS = 60


def levels(
    model: ImpactModel,
    panel: Panel,
    bucket_min: float,
    policy: GuardrailPolicy = DEFAULT.refit.guardrails,
) -> dict[str, Guardrail]:
    """Levels of one regime.

    Parameters
    ----------
    model
        The regime's model, with its decay kernel.
    panel
        Whole sessions as they were seen, every regime's buckets, on the model's symbols.
    bucket_min
        Width of a bucket, minutes.
    policy
        Percentiles at which the levels stand, and ages of data and model.

    Returns
    -------
    dict
        `cpi_bps` and `ibb` (see `crossimpact.cost_indices`), each with its percentiles;
        `data_age_s` and `model_age_days`. CPI or IBB is left out where the regime has fewer than
        `MIN_BUCKETS` values of it, and CPI where the model couples no names.
    """
    panel = panel.seen.plausible()[0]
    pressure, burn = _indices(model, panel, bucket_min)
    seen = {"cpi_bps": (pressure, policy.cpi), "ibb": (burn, policy.ibb)}
    if not model.gamma.any():
        del seen["cpi_bps"]
    measured = {
        name: _level(values[panel.regime == model.regime], quantiles.amber, quantiles.red)
        for name, (values, quantiles) in seen.items()
    }
    ages = policy.ages
    return {name: level for name, level in measured.items() if level} | {
        "data_age_s": Guardrail(ages.data_amber_s, ages.data_red_s),
        "model_age_days": Guardrail(ages.model_amber_days, ages.model_red_days),
    }


def _indices(model: ImpactModel, panel: Panel, bucket_min: float) -> tuple[Array, Array]:
    """CPI and IBB of every bucket, (T,), session by session, gaps without flow."""
    notional = panel.q * panel.adv
    realized = 1e-4 * (np.abs(notional) * np.nan_to_num(panel.s)).sum(axis=1)
    priced = np.where(np.isfinite(panel.s), panel.q, 0.0)
    budget = model.cost(priced).total
    pressure, burn = np.full((2, len(panel.ts)), np.nan)
    for date in np.unique(panel.date):
        rows = np.flatnonzero(panel.date == date)
        slots = slots_of(panel.where(panel.date == date), bucket_min)
        pressure[rows] = session_pressure(model, on_slots(panel.q[rows], slots))[slots]
        sums = (on_slots(values[rows], slots) for values in (realized, budget))
        burn[rows] = budget_burn(*sums)[slots]
    return pressure, burn


def _level(values: Array, amber: float, red: float) -> Guardrail | None:
    """No expected gain alarms: levels are at least zero."""
    known = values[np.isfinite(values)]
    if len(known) < MIN_BUCKETS:
        return None
    at = np.maximum(np.quantile(known, (amber, red)), 0.0)
    table = np.quantile(known, np.array(PERCENTILES) / 100)
    return Guardrail(float(at[0]), float(at[1]), tuple(table.tolist()))
