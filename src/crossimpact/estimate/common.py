"""What many pairs have in common: the template that does best on held-out days, and one factor.

Both start from the same guess of how strongly a name couples, ``sqrt(beta) ADV^power``, or from
what the regime with more data lends.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from crossimpact.estimate import shrinkage, template
from crossimpact.estimate.equations import Design, conditional
from crossimpact.estimate.one_factor import OneFactor, fit_one_factor
from crossimpact.estimate.template import Template
from crossimpact.model import Array
from crossimpact.panel import Panel

SIZE_POWERS = (0.0, 0.25, 0.5)  # a template's pairs couple with sqrt(beta) ADV^power of each


class Lead(NamedTuple):
    """What the regime with more data lends: how surely it found each pair coupled, how strongly and
    with what error, scaled, all (n, n), and its exposures to the common factor, shape (n,)."""

    inclusion: Array
    scaled: Array
    se: Array
    exposure: Array


def common_factor(whole: Design, panel: Panel, beta: Array, lead: Lead | None) -> OneFactor:
    """From the lead regime's exposures where it has any, else by own impact and size; read again
    given what the others' residuals say of the common noise, as the pairs are."""
    size = panel.adv / np.median(panel.adv)
    strengths = np.array([np.sqrt(beta) * size**power for power in SIZE_POWERS])
    if lead is not None and lead.exposure.any():
        strengths = lead.exposure[None, :]
    first = fit_one_factor(whole.equations, strengths, whole.factors)
    if not first.exposure.any():
        return first
    left = shrinkage.row_gradients(whole.equations, first.scaled)
    np.fill_diagonal(left, 0.0)  # own flow is in every row's nuisance
    return fit_one_factor(conditional(whole.equations, whole.precision, left), strengths)


def choose_template(
    whole: Design, folds: Sequence[tuple[Design, Design]], panel: Panel, beta: Array,
    lead: Lead | None,
) -> Template:  # fmt: skip
    """Blocks, Kyle's matrix, the lead regime's or none: the least loss on held-out days."""
    flow = whole.equations.gram / max(whole.buckets, 1)
    root = np.sqrt(panel.adv)
    moves = whole.noise * np.outer(root, root) / max(whole.buckets, 1)
    response = template.kyle(flow, moves)
    size = panel.adv / np.median(panel.adv)

    def blocks(seen: Design, power: float) -> Template:
        strength = beta * size ** (2 * power)
        return template.fit_blocks(seen.equations, strength, panel.sectors, seen.factors)

    def kyle(seen: Design) -> Template:
        return template.fit_kyle(seen.equations, response, seen.factors)

    families = [partial(blocks, power=power) for power in SIZE_POWERS] + [kyle]
    if lead is not None and lead.scaled.any():
        families.append(
            lambda seen: template.fit_lent(seen.equations, lead.scaled, lead.se, seen.factors)
        )
    losses = [
        sum(template.loss(test.equations, family(train).scaled) for train, test in folds)
        for family in families
    ]
    return families[int(np.argmin(losses))](whole)
