"""Numbers and tables of the model card in Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeGuard

import numpy as np


def is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def number(value: Any, form: str) -> str:
    """As text; a release holds what is not finite as 'nan' or 'inf'."""
    if value in (None, "nan") or (isinstance(value, float) and np.isnan(value)):
        return "-"
    return format(value, form) if isinstance(value, int | float) else str(value)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Lines of a table; a bar in a cell is escaped."""
    head = tuple(head)
    lines = (head, ("---",) * len(head), *rows)
    return ["| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines]
