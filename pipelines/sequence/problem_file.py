"""A sequence problem as JSON: every field read, checked and named when it is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from crossimpact.errors import ProblemError, UsageError
from crossimpact.model import Array
from crossimpact.policy.sequential import kernel as kernels
from crossimpact.policy.sequential import problem as problems
from crossimpact.policy.sequential.kernel import Kernel
from crossimpact.policy.sequential.law import Normal, Scenarios
from crossimpact.policy.sequential.limits import Limits, numbers
from crossimpact.policy.sequential.problem import Problem
from crossimpact.policy.sequential.risk import Risk
from pipelines.sequence import fields

if TYPE_CHECKING:
    from crossimpact.policy.sequential.tree import Tree

Objective = Literal["stsh", "myopic", "ttsc", "tthc", "hybrid"]
FIELDS = (
    "times", "volumes", "objective", "kernel", "benchmark", "scenarios", "amend", "monotone",
    "full_span", "limits", "dates", "risk", "discretion",
)  # fmt: skip
LIMITS = ("no_blocks", "block_cap", "max_rate", "spread")
KERNELS = {
    "exponential": ("rho",),
    "power_law": ("gamma", "tau"),
    "sum_of_exponentials": ("weights", "rhos"),
}


@dataclass(frozen=True)
class Task:
    """A problem, the objective by name, and the law of later orders when they are uncertain.

    What is uncertain has its mean in `problem`.
    """

    problem: Problem
    objective: Objective
    law: Scenarios | Normal | Tree | None = None
    vectors: bool = False


def read(path: Path, *, project: bool = False) -> Task:
    """The task of a file; `project` replaces an inadmissible K by the nearest admissible one.

    Raises
    ------
    UsageError
        When the file is not there or not a JSON object.
    ProblemError
        When a field is missing, unknown, or out of its limits.
    """
    try:
        data = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(f"{path} is not a readable JSON file: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{path} holds {fields.kind(data)}, not a JSON object")
    return parse(data, project=project)


def parse(data: Mapping[str, Any], *, project: bool = False) -> Task:
    """The task of a problem in plain data.

    With `scenarios` the volumes they speak of are their means, whatever `volumes` says of them.
    """
    fields.known("", data, FIELDS)
    objective = data.get("objective", "tthc")
    if objective not in get_args(Objective):
        raise ProblemError(
            f"objective is {objective!r}", f"one of {', '.join(get_args(Objective))}"
        )
    times, given = fields.required_numbers(data, "times"), fields.required_numbers(data, "volumes")
    volumes = given[:, None] if given.ndim == 1 else given
    kernel, limits = _kernel(data.get("kernel"), project), _limits(data, times)
    risk, discretion = _risk(data), _discretion(data)
    monotone = fields.flag(data, "monotone", default=True)
    law: Scenarios | Normal | Tree | None
    if data.get("scenarios") is not None and len(volumes) > 2:
        law = replace(_tree(data, objective, times, volumes, kernel, monotone, limits), risk=risk)
        volumes = law.expected[0]
    else:
        law = _law(data, volumes)
        volumes = volumes if law is None else np.vstack((volumes[:1], law.mean))
    pose = _pose(data, objective, volumes)
    problem = pose(times, volumes, kernel, limits=limits, monotone=monotone)
    if risk is not None or np.any(discretion):
        problem = replace(problem, risk=risk, discretion=discretion)
    if law is not None and np.any(discretion):
        raise ProblemError("discretion is for orders that are certain", "drop the uncertain ones")
    return Task(problem, objective, law, given.ndim > 1)


def _pose(data: Mapping[str, Any], objective: Objective, volumes: Array) -> Callable[..., Problem]:
    """The objective's constructor, given what became known when."""
    benchmark, amend = data.get("benchmark"), _amend(data, volumes)
    if objective == "stsh":
        fields.none_of(data, objective, "benchmark", "scenarios", "amend")
        if len(volumes) != 1:
            raise ProblemError(f"objective stsh schedules one order, volumes has {len(volumes)}")
        return problems.tthc
    if benchmark is not None and objective == "tthc":
        raise ProblemError("objective tthc takes no benchmark", "say hybrid")
    if benchmark is not None and amend is not None:
        raise ProblemError("benchmark and amend both say what became known when", "give one")
    parts = None
    if benchmark is not None:
        parts = numbers("benchmark", benchmark)
    elif amend is not None:
        parts = problems.amended(volumes, amend)
    certain = data.get("scenarios") is None and data.get("amend") is None
    if objective == "hybrid" and parts is None and certain:
        raise ProblemError("objective hybrid needs benchmark, amend or scenarios")
    if objective in ("myopic", "ttsc"):
        return lambda *args, **options: problems.ttsc(*args, parts=parts, **options)
    known = problems.at_start(volumes) if parts is None else parts

    def hybrid(times: Array, volumes: Array, kernel: Kernel, **options: Any) -> Problem:
        return problems.hybrid(times, volumes, kernel, known, **options)

    return hybrid


def _law(data: Mapping[str, Any], volumes: Array) -> Scenarios | Normal | None:
    """Of the second order's volume; None when it is certain."""
    scenarios, amend = data.get("scenarios"), data.get("amend") or {}
    sd = amend.get("normal_sd") if isinstance(amend, dict) else None
    if scenarios is None and sd is None:
        return None
    if len(volumes) != 2:
        raise ProblemError(f"an uncertain order follows a first one, volumes has {len(volumes)}")
    if scenarios is not None:
        fields.none_beside_scenarios(data, "amend")
        return _siblings("scenarios", scenarios, volumes.shape[1], ("p", "volume"))
    if volumes.shape[1] != 1:
        raise ProblemError(f"amend.normal_sd is for one asset, volumes has {volumes.shape[1]}")
    return Normal(float(volumes[1, 0]), fields.number("amend.normal_sd", sd))


def _tree(
    data: Mapping[str, Any],
    objective: Objective,
    times: Array,
    volumes: Array,
    kernel: Kernel,
    monotone: bool,
    limits: Limits,
) -> Tree:
    """Scenarios of three orders and more: each says `then` what may follow it."""
    from crossimpact.policy.sequential.tree import Tree  # compiled code only these need

    fields.none_beside_scenarios(data, "benchmark", "amend")
    parents, odds, sizes = [-1], [1.0], [volumes[0]]

    def grow(where: str, rows: Any, parent: int, order: int) -> None:
        last = order == len(volumes) - 1
        names = ("p", "volume") if last else ("p", "volume", "then")
        law = _siblings(where, rows, volumes.shape[1], names)
        for i, (p, size) in enumerate(zip(law.probabilities, law.volumes, strict=True)):
            node = len(parents)
            parents.append(parent)
            odds.append(float(p))
            sizes.append(size)
            if not last:
                grow(f"{where}[{i}].then", rows[i].get("then"), node, order + 1)

    grow("scenarios", data["scenarios"], 0, 1)
    priced: Literal["ttsc", "tthc"] = "ttsc" if objective == "ttsc" else "tthc"
    return Tree(
        times, np.array(parents), np.array(odds), np.array(sizes), kernel, priced, monotone, limits
    )


def _siblings(where: str, rows: Any, assets: int, names: tuple[str, ...]) -> Scenarios:
    """What may happen at one node: probabilities and volumes."""
    if not isinstance(rows, list) or not rows:
        kind = "missing" if rows is None else fields.kind(rows)
        raise ProblemError(f"{where} is {kind}, must be a list of {{{', '.join(names)}}}")
    volumes = np.empty((len(rows), assets))
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ProblemError(
                f"{where}[{i}] is {fields.kind(row)}, must be {{{', '.join(names)}}}"
            )
        fields.known(f"{where}[{i}].", row, names)
        if row.get("volume") is None:
            raise ProblemError(f"{where}[{i}].volume is missing")
        volume = np.atleast_1d(numbers(f"{where}[{i}].volume", row["volume"]))
        if volume.shape != (assets,):
            raise ProblemError(
                f"{where}[{i}].volume has shape {volume.shape}, must be ({assets},)",
                "a number per asset, as in volumes",
            )
        volumes[i] = volume
    odds = np.array([fields.number(f"{where}[{i}].p", row.get("p")) for i, row in enumerate(rows)])
    try:
        return Scenarios(odds, volumes)
    except ProblemError as error:
        raise ProblemError(f"{where}: {error.what}", error.hint) from error


def _amend(data: Mapping[str, Any], volumes: Array) -> Array | None:
    """The known amendment, shape (M,)."""
    amend = data.get("amend")
    if amend is None:
        return None
    if not isinstance(amend, dict) or len(amend) != 1:
        raise ProblemError(f'amend is {amend!r}, must be {{"known": a}} or {{"normal_sd": s}}')
    fields.known("amend.", amend, ("known", "normal_sd"))
    if len(volumes) != 2:
        raise ProblemError(f"amend is for two orders, volumes has {len(volumes)}")
    if "known" not in amend:
        return None
    known = numbers("amend.known", amend["known"])
    if known.shape not in ((), (volumes.shape[1],)):
        raise ProblemError(f"amend.known has shape {known.shape}, must be a number per asset")
    return np.broadcast_to(known, volumes.shape[1:])


def _kernel(data: Any, project: bool) -> Kernel:
    if not isinstance(data, dict) or data.get("type") not in KERNELS:
        given = data.get("type") if isinstance(data, dict) else data
        raise ProblemError(f"kernel.type is {given!r}", f"one of {', '.join(KERNELS)}")
    own = KERNELS[data["type"]]
    fields.known("kernel.", data, ("type", "kappa", "K", *own))
    if "K" in data and "kappa" in data:
        raise ProblemError("kernel has both kappa and K", "give one")
    if "K" not in data and "kappa" not in data and data["type"] == "exponential":
        raise ProblemError("kernel has neither kappa nor K")
    if "K" in data:
        K = numbers("kernel.K", data["K"])
    else:
        K = np.array([[fields.number("kernel.kappa", data.get("kappa", 1.0))]])
    if project and K.ndim == 2 and K.shape[0] == K.shape[1]:
        K = kernels.project(K)
    if data["type"] == "exponential":
        if isinstance(data.get("rho"), list):
            return kernels.ExponentialByAsset(K, rhos=_series(data, "rho"))
        return kernels.Exponential(K, rho=fields.number("kernel.rho", data.get("rho")))
    if data["type"] == "power_law":
        tau = fields.number("kernel.tau", data.get("tau", 1.0))
        return kernels.PowerLaw(K, gamma=fields.number("kernel.gamma", data.get("gamma")), tau=tau)
    return kernels.SumOfExponentials(
        K, weights=_series(data, "weights"), rhos=_series(data, "rhos")
    )


def _series(data: Mapping[str, Any], name: str) -> tuple[float, ...]:
    """One number or a list of them, of the kernel."""
    if data.get(name) is None:
        raise ProblemError(f"kernel.{name} is missing")
    values = np.atleast_1d(numbers(f"kernel.{name}", data[name]))
    if values.ndim != 1:
        raise ProblemError(f"kernel.{name} has shape {values.shape}, must be a list of numbers")
    return tuple(values.tolist())


def _risk(data: Mapping[str, Any]) -> Risk | None:
    """``{"aversion": a, "covariance": Sigma}``, or ``volatility`` of assets that move apart."""
    risk = data.get("risk")
    if risk is None:
        return None
    if not isinstance(risk, dict):
        raise ProblemError(f"risk is {fields.kind(risk)}, must be an object")
    fields.known("risk.", risk, ("aversion", "covariance", "volatility"))
    if ("covariance" in risk) == ("volatility" in risk):
        raise ProblemError("risk needs a covariance or a volatility", "give one")
    if "covariance" in risk:
        covariance = numbers("risk.covariance", risk["covariance"])
    else:
        volatility = np.atleast_1d(numbers("risk.volatility", risk["volatility"]))
        covariance = np.diag(volatility.ravel() ** 2)
    return Risk(fields.number("risk.aversion", risk.get("aversion")), covariance)


def _discretion(data: Mapping[str, Any]) -> Array:
    given = data.get("discretion")
    return numbers("discretion", 0.0 if given is None else given)


def _dates(data: Mapping[str, Any], times: Array) -> Array | None:
    """Trading dates: times, or a whole number of equal steps in every order."""
    dates = data.get("dates")
    if dates is None:
        return None
    if isinstance(dates, bool) or not isinstance(dates, int):
        return np.atleast_1d(numbers("dates", dates))
    if dates < 1:
        raise ProblemError(f"dates is {dates}, must be >= 1 steps an order, or a list of times")
    return np.unique(np.linspace(times[:-1], times[1:], dates + 1))


def _limits(data: Mapping[str, Any], times: Array) -> Limits:
    limits = {} if data.get("limits") is None else data["limits"]
    if not isinstance(limits, dict):
        raise ProblemError(f"limits is {fields.kind(limits)}, must be an object")
    fields.known("limits.", limits, LIMITS)
    given = {
        name: numbers(f"limits.{name}", limits[name])
        for name in LIMITS[1:]
        if limits.get(name) is not None
    }
    return Limits(
        no_blocks=fields.flag(limits, "no_blocks", default=False, where="limits."),
        full_span=fields.flag(data, "full_span", default=False),
        dates=_dates(data, times),
        **given,
    )
