"""Errors a user can act on: what is wrong, where, the number against its limit, what to do.

Every error carries the exit code the command line returns for it, so a caller never has to
parse a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class CrossImpactError(Exception):
    """Base of all errors of the platform (exit code 1).

    Parameters
    ----------
    what
        One sentence: what is wrong and where (table, symbol, regime, file).
    hint
        What to do about it; empty when nothing helps but reading `what`.
    """

    exit_code = 1

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what, hint)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}; {self.hint}" if self.hint else self.what


class Unavailable(CrossImpactError):
    """A server or a locked file that may well answer in a minute (exit code 1)."""


class UsageError(CrossImpactError):
    """A wrong argument or a path that is not there (exit code 2)."""

    exit_code = 2


class ContractViolation(CrossImpactError):
    """The landed data break the contract in a way that blocks (exit code 3)."""

    exit_code = 3


class GateRefused(CrossImpactError):
    """A promotion gate said no (exit code 4); `report` holds every gate's row."""

    exit_code = 4

    def __init__(self, what: str, hint: str = "", report: Mapping[str, Any] | None = None) -> None:
        super().__init__(what, hint)
        self.report = dict(report or {})


class StaleModel(CrossImpactError):
    """No usable model: none promoted, expired, or its digest does not verify (exit code 5)."""

    exit_code = 5


class ModelError(CrossImpactError, ValueError):
    """Numbers that are not an admissible impact model (shape, NaN, negative ADV)."""


class EstimationError(CrossImpactError):
    """Data from which nothing can be estimated (no flow, no buckets)."""


class ProblemError(CrossImpactError, ValueError):
    """A scheduling problem that cannot be posed: names the number and its limit (exit code 2)."""

    exit_code = 2


class Inadmissible(ProblemError):
    """A scheduling problem that is posed well and refused (exit code 1): a matrix with profitable
    round trips, limits that leave no schedule, more unknowns than fit."""

    exit_code = 1
