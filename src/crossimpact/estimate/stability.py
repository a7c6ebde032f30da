"""Stability rules: what a fitted matrix must satisfy before anyone trades on it.

A tuple of rules ``(model) -> (model, row)``, applied in order. They work in the scaled space
``A = M + diag(beta)``, ``M_ij = gamma_ij sqrt(adv_i / adv_j)``, which is symmetric positive
semidefinite exactly when no round trip makes money on a linear model; `crossimpact.manipulation`
certifies what leaves. Each rule leaves a row: what it saw, its limit, what it changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from crossimpact.manipulation import margin, worst_flow
from crossimpact.manipulation import smallest_eigenvalue as smallest_eigenvalue
from crossimpact.model import Array, ImpactModel
from crossimpact.scaled import from_scaled, normalised, to_scaled

#: The two sides of a pair may differ by this share of their size before they are averaged.
SYMMETRY = 1e-12

#: No pair may be coupled more strongly than this share of ``sqrt(beta_i beta_j)``.
MAX_COUPLING = 0.9
#: Smallest eigenvalue of A in units of its diagonal (``D^-1/2 A D^-1/2``).
MIN_EIGENVALUE = 0.02
#: A searched minimum is good to a few digits: this share of the limit passes.
SEARCHED = 0.99
#: Alternating projections towards the nearest matrix; what they leave is shrunk away.
PROJECTIONS, PROJECTION_TOLERANCE = 50, 1e-6
#: Largest condition number of A.
MAX_CONDITION = 1e4
#: When one factor on all couplings would have to be smaller than this, blocks are tried instead.
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
    matrix = normalised(model)
    np.fill_diagonal(matrix, 0.0)
    silent = model.beta == 0
    matrix[(silent[:, None] | silent) & (matrix != 0)] = np.inf
    return matrix


def symmetrise(model: ImpactModel) -> tuple[ImpactModel, RuleRow]:
    """Average each pair in dollar space; absence of price manipulation asks for symmetry."""
    off = _off(model)
    size = np.abs(off) + np.abs(off.T)
    gap = np.abs(off - off.T) / np.where(size > 0, size, 1.0)
    changed = int((gap > SYMMETRY).sum())
    worst = float(gap.max(initial=0.0))
    row = RuleRow("symmetrise", worst, SYMMETRY, changed, "averaged" if changed else "none")
    return _with_scaled(model, (off + off.T) / 2) if changed else model, row


def cap(model: ImpactModel) -> tuple[ImpactModel, RuleRow]:
    """Clip couplings to `MAX_COUPLING` of the pair's own impacts (liquidity-sane)."""
    off = _off(model)
    bound = MAX_COUPLING * np.sqrt(np.outer(model.beta, model.beta))
    changed = int((np.abs(off) > bound * (1 + SYMMETRY)).sum())
    worst = np.abs(coupling(model)).max(initial=0.0)
    row = RuleRow(
        "cap", float(min(worst, 1e6)), MAX_COUPLING, changed, "clipped" if changed else "none"
    )
    return _with_scaled(model, np.clip(off, -bound, bound)) if changed else model, row


def project_psd(model: ImpactModel) -> tuple[ImpactModel, RuleRow]:
    """Move a symmetric model to the nearest couplings (Frobenius) that have the eigenvalue margin.

    No coupling grows, turns sign or appears; on random matrices of 10 to 200 names this changes
    half to four fifths of what one factor on all couplings would (nine tenths of hopeless ones).
    What the projections leave short of the margin is made up by such a factor: ``I + theta C`` has
    smallest eigenvalue ``1 + theta lambda_min(C)``, whether or not they have converged.
    """
    eigenvalue = smallest_eigenvalue(model)
    if eigenvalue >= MIN_EIGENVALUE:
        return model, RuleRow("project_psd", eigenvalue, MIN_EIGENVALUE, 0, "none")
    before = normalised(model)
    np.fill_diagonal(before, 0.0)
    after = _nearest((before + before.T) / 2)
    kept = np.divide(after, before, out=np.ones_like(before), where=before != 0)
    kept *= _shrink(1.0 + float(np.linalg.eigvalsh(after)[0]))
    moved = np.linalg.norm(before - kept * before) / np.linalg.norm(before)
    changed = int((kept[before != 0] < 1 - SYMMETRY).sum())
    action = f"couplings moved by {moved:.1%}"
    return _scaled_by(model, kept), RuleRow(
        "project_psd", eigenvalue, MIN_EIGENVALUE, changed, action
    )


def bound_concave(model: ImpactModel) -> tuple[ImpactModel, RuleRow]:
    """Shrink a square-root model's couplings by one factor until no flow's impact cost is negative.

    By proof where `margin` gives one, else against the worst flow a search finds: enforcing the
    proof would halve couplings that are harmless. A linear model's margin is its smallest
    eigenvalue, which `project_psd` has seen to.
    """
    value = margin(model)
    if model.transform == "sqrt" and value < MIN_EIGENVALUE:
        value = worst_flow(model)[0]
    if model.transform == "linear" or value >= SEARCHED * MIN_EIGENVALUE:
        return model, RuleRow("bound_concave", value, MIN_EIGENVALUE, 0, "none")
    theta = _shrink(value)
    action = f"couplings scaled by {theta:.3f}"
    row = RuleRow("bound_concave", value, MIN_EIGENVALUE, model.edges * 2, action)
    return _scaled_by(model, np.full((model.n, model.n), theta)), row


def _shrink(value: float) -> float:
    """The largest factor on all couplings that lifts a margin from `value` to its minimum."""
    return 1.0 if value >= MIN_EIGENVALUE else (1 - MIN_EIGENVALUE) * (1 - 1e-12) / (1 - value)


def _scaled_by(model: ImpactModel, share: Array) -> ImpactModel:
    gamma, error = share * model.gamma, share * model.gamma_se
    return replace(model, gamma=gamma, gamma_se=np.where(gamma != 0, error, np.nan))


def _nearest(C: Array) -> Array:
    """Alternating projections (Dykstra; Higham 2002) of the couplings `C`, zero diagonal, onto
    ``lambda_min(I + X) >= MIN_EIGENVALUE`` and the box between 0 and `C`, which they end in. The
    box does without a correction of its own: it would gain a thousandth."""
    low, high = np.minimum(C, 0.0), np.maximum(C, 0.0)
    X, correction = C, np.zeros_like(C)
    for _ in range(PROJECTIONS):
        values, vectors = np.linalg.eigh(X - correction)
        lift = (vectors * np.maximum(MIN_EIGENVALUE - 1 - values, 0.0)) @ vectors.T
        inside = np.clip(X - correction + lift, low, high)
        correction, change = lift, np.abs(inside - X).max()
        X = inside
        if change < PROJECTION_TOLERANCE:
            break
    return np.asarray((X + X.T) / 2)


def limit_condition(model: ImpactModel) -> tuple[ImpactModel, RuleRow]:
    """Check the condition number of A; without its cross terms it is as good as the betas allow."""
    value = min(model.condition_number, 1e300)
    if value <= MAX_CONDITION:
        return model, RuleRow("limit_condition", value, MAX_CONDITION, 0, "none")
    row = RuleRow("limit_condition", value, MAX_CONDITION, model.edges * 2, "self-only")
    return model.self_only(), row


RULES: tuple[Rule, ...] = (symmetrise, cap, project_psd, bound_concave, limit_condition)


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
    shrunk = min(row.value for row in rows if row.rule in ("project_psd", "bound_concave"))
    condition = next(row for row in rows if row.rule == "limit_condition")
    if condition.changed:
        return mended, rows, f"condition number {condition.value:.3g}, limit {MAX_CONDITION:g}"
    theta = _shrink(shrunk)
    if theta >= MIN_SHRINK:
        return mended, rows, ""
    reason = f"the PSD margin scales the couplings by {theta:.0%}, limit {MIN_SHRINK:.0%}"
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
