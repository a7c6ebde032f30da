"""Stability rules: what a fitted matrix must satisfy before anyone trades on it.

A tuple of rules ``(model) -> (model, row)``, applied in order. They work in the scaled space
``A = M + diag(beta)``, ``M_ij = gamma_ij sqrt(adv_i / adv_j)``, which is symmetric positive
semidefinite exactly when no round trip makes money (Huberman and Stanzl 2004; Alfonsi, Kloeck and
Schied 2016). Each leaves a row: what it saw, its limit, what it changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from crossimpact.model import Array, ImpactModel, from_scaled, to_scaled

#: No pair may be coupled more strongly than this share of ``sqrt(beta_i beta_j)``.
MAX_COUPLING = 0.9
#: Smallest eigenvalue of A in units of its diagonal (``D^-1/2 A D^-1/2``).
MIN_EIGENVALUE = 0.02
#: Largest condition number of A.
MAX_CONDITION = 1e4
#: When the PSD rule has to shrink the couplings below this share, blocks are tried instead.
MIN_SHRINK = 0.25


@dataclass(frozen=True)
class RuleRow:
    """What one rule saw (`value` against `limit`) and how many entries it changed."""

    rule: str
    value: float
    limit: float
    changed: int
    action: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


Rule = Callable[[ImpactModel], tuple[ImpactModel, RuleRow]]


def _with_scaled(model: ImpactModel, scaled: Array) -> ImpactModel:
    off = scaled - np.diag(np.diagonal(scaled))
    gamma = from_scaled(off, model.adv)
    return replace(model, gamma=gamma, gamma_se=np.where(gamma != 0, model.gamma_se, np.nan))


def _off(model: ImpactModel) -> Array:
    return to_scaled(model.gamma, model.adv)


def coupling(model: ImpactModel) -> Array:
    """Correlation-like ``M_ij / sqrt(beta_i beta_j)``, zero diagonal; inf where a beta is 0."""
    root = np.sqrt(np.outer(model.beta, model.beta))
    off = _off(model)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(off == 0, 0.0, off / root)


def smallest_eigenvalue(model: ImpactModel) -> float:
    """Smallest eigenvalue of ``I + coupling`` (1 without cross terms, negative when not PSD)."""
    correlation = coupling(model)
    if not np.isfinite(correlation).all():
        return float("-inf")
    return 1.0 + float(np.linalg.eigvalsh((correlation + correlation.T) / 2)[0])


def symmetrise(model: ImpactModel) -> tuple[ImpactModel, RuleRow]:
    """Average each pair in dollar space; absence of price manipulation asks for symmetry."""
    off = _off(model)
    gap = float(np.abs(off - off.T).max(initial=0.0))
    limit = 1e-9 * float(np.abs(off).max(initial=0.0))
    changed = int((np.abs(off - off.T) > limit).sum())
    mended = _with_scaled(model, (off + off.T) / 2)
    return mended, RuleRow("symmetrise", gap, limit, changed, "averaged" if changed else "none")


def cap(model: ImpactModel) -> tuple[ImpactModel, RuleRow]:
    """Clip couplings to `MAX_COUPLING` of the pair's own impacts (liquidity-sane)."""
    off = _off(model)
    bound = MAX_COUPLING * np.sqrt(np.outer(model.beta, model.beta))
    clipped = np.clip(off, -bound, bound)
    changed = int((clipped != off).sum())
    worst = np.abs(coupling(model)).max(initial=0.0)
    row = RuleRow(
        "cap", float(min(worst, 1e6)), MAX_COUPLING, changed, "clipped" if changed else "none"
    )
    return _with_scaled(model, clipped) if changed else model, row


def project_psd(model: ImpactModel) -> tuple[ImpactModel, RuleRow]:
    """Shrink all couplings by one factor until the smallest eigenvalue has its margin.

    Keeps symmetry, signs and sparsity exactly: ``I + theta C`` has smallest eigenvalue
    ``1 + theta lambda_min(C)``, so the largest admissible theta is known in closed form.
    """
    eigenvalue = smallest_eigenvalue(model)
    if eigenvalue >= MIN_EIGENVALUE:
        return model, RuleRow("project_psd", eigenvalue, MIN_EIGENVALUE, 0, "none")
    theta = (1 - MIN_EIGENVALUE) * (1 - 1e-12) / (1 - eigenvalue)
    mended = _with_scaled(replace(model, gamma_se=theta * model.gamma_se), theta * _off(model))
    row = RuleRow(
        "project_psd",
        eigenvalue,
        MIN_EIGENVALUE,
        model.edges * 2,
        f"couplings scaled by {theta:.3f}",
    )
    return mended, row


def limit_condition(model: ImpactModel) -> tuple[ImpactModel, RuleRow]:
    """Check the condition number of A; without its cross terms it is as good as the betas allow."""
    value = min(model.condition_number, 1e300)
    if value <= MAX_CONDITION:
        return model, RuleRow("limit_condition", value, MAX_CONDITION, 0, "none")
    row = RuleRow("limit_condition", value, MAX_CONDITION, model.edges * 2, "self-only")
    return model.self_only(), row


RULES: tuple[Rule, ...] = (symmetrise, cap, project_psd, limit_condition)


def stabilise(
    model: ImpactModel, template: Array | None = None
) -> tuple[ImpactModel, list[RuleRow], str]:
    """Apply every rule; fall back to the sector blocks when the full matrix does not survive.

    Parameters
    ----------
    model
        As fitted.
    template
        Its sector-block part in scaled space, the next rung of the ladder.

    Returns
    -------
    model, rows, reason
        An admissible model, one row per rule (and per rung tried), and why the ladder was used;
        the reason is empty when the full matrix survived.
    """
    mended, rows = _apply(model)
    shrunk = next(row for row in rows if row.rule == "project_psd")
    condition = next(row for row in rows if row.rule == "limit_condition")
    if condition.changed:
        return mended, rows, f"condition number {condition.value:.3g}, limit {MAX_CONDITION:g}"
    theta = (1 - MIN_EIGENVALUE) / (1 - shrunk.value) if shrunk.changed else 1.0
    if theta >= MIN_SHRINK:
        return mended, rows, ""
    reason = f"the PSD margin would leave {theta:.0%} of the couplings, limit {MIN_SHRINK:.0%}"
    rows.append(RuleRow("block_fallback", theta, MIN_SHRINK, model.edges * 2, "sector blocks"))
    if template is None:
        return model.self_only(), rows, reason
    mended, more = _apply(_with_scaled(model, template))
    return mended, rows + more, reason


def _apply(model: ImpactModel) -> tuple[ImpactModel, list[RuleRow]]:
    rows = []
    for rule in RULES:
        model, row = rule(model)
        rows.append(row)
    return model, rows
