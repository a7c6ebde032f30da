"""The fallback ladder: who may answer for a regime, best answer first.

- ``full``: template and single pairs;
- ``sector_block``: the template alone, what whole groups of pairs have in common;
- ``one_factor``: one common factor, symmetric in dollars, an exposure per name;
- ``self_only``: no couplings;
- ``fixed_pov``: no model, a fixed share of the market's volume.

A rung further down claims less: pairs, then groups of pairs, then one number for the whole desk
spread over its names.
"""

from __future__ import annotations

from typing import Literal

#: What `sql/features/regimes.sql` labels buckets; each has a model and a ladder of its own.
REGIMES: tuple[str, ...] = ("normal", "stressed")
Rung = Literal["full", "sector_block", "one_factor", "self_only", "fixed_pov"]
RUNGS: tuple[Rung, ...] = ("full", "sector_block", "one_factor", "self_only", "fixed_pov")
#: Rungs with a model.
FITTED: tuple[Rung, ...] = RUNGS[:-1]
#: Rungs whose model may couple names.
COUPLED: tuple[Rung, ...] = FITTED[:-1]


def below(rung: str) -> tuple[Rung, ...]:
    """Rungs under `rung`, best first; none under one that is not of the ladder."""
    at = [k for k, name in enumerate(RUNGS) if name == rung]
    return RUNGS[at[0] + 1 :] if at else ()
