"""The ladder's last rung: no model, every line trades a fixed share of volume."""

from __future__ import annotations

import numpy as np

from crossimpact.policy.scheduling.caps import Caps
from crossimpact.policy.scheduling.desk import Desk
from crossimpact.scaled import Array


def fixed_share(desk: Desk, caps: Caps) -> Array:
    """Flows, USD >= 0 by line and interval: what the caps leave, until nothing does."""
    left, u = desk.lines.remaining.copy(), np.zeros(desk.shape)
    for h in range(desk.state.horizon):
        u[:, h] = np.minimum(caps.most[:, h], left)
        left -= u[:, h]
    return caps.kept(u)
