"""Kernels of price impact: the base and its formulas, one module a family of decays."""

from crossimpact.policy.sequential.kernel.base import TOLERANCE, Distance, Kernel, project
from crossimpact.policy.sequential.kernel.convex import Convex
from crossimpact.policy.sequential.kernel.exponential import (
    Exponential,
    ExponentialByAsset,
    SumOfExponentials,
)
from crossimpact.policy.sequential.kernel.power_law import PowerLaw

__all__ = [
    "TOLERANCE",
    "Convex",
    "Distance",
    "Exponential",
    "ExponentialByAsset",
    "Kernel",
    "PowerLaw",
    "SumOfExponentials",
    "project",
]
