"""Whether two refits made the same release: the same bytes, or the same within rounding.

The digest names the bytes that ship, and a consumer accepts no others. It cannot tell whether a
refit was *reproduced*: BLAS sums in an order of its own on every kind of processor, so the same
code on the same data ends in other last digits there. Reproduced are the decisions, exactly (rungs,
coupled pairs, counts, names, the words of every reason), and the numbers within `RTOL` of the
larger one, or within `ATOL` where both are small.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from crossimpact.model import ImpactModel
from crossimpact.release.bundle import Release

RTOL, ATOL = 1e-9, 1e-12
#: A rounded number in a sentence: with a point or an exponent, and no part of a version or a name.
ROUNDED = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+(?:e[-+]\d+)?|e[-+]\d+)(?![\w]|\.\d)")

ABSENT = "(nothing)"  # what a release has in a place that only the other has


class Largest(NamedTuple):
    """The largest difference of two numbers so far, see `distance`, and where."""

    distance: float = 0.0
    where: str = ""


def verdict(shipped: Release, again: Release) -> str:
    """'same bytes', 'same within 1e-09: ...' with the largest difference, or 'different: ...' with
    the first place that differs and what both hold there."""
    if shipped.digest == again.digest:
        return "same bytes"
    largest = Largest()
    for where, (old, new) in _places(_content(shipped), _content(again), ""):
        if not equal(old, new):
            return f"different: {where} is {_short(old)}, run again {_short(new)}"
        largest = max(largest, Largest(distance(old, new), where))
    told = f"largest difference {largest.distance:.0e} in {largest.where}" if largest.where else ""
    return f"same within {RTOL:.0e}: {told or 'only the rounding of a text differs'}"


def equal(old: Any, new: Any) -> bool:
    """Whether two leaves are the same: numbers within the tolerance, sentences but for the last
    digit of a rounded number in them, everything else exactly."""
    if _is_float(old, new):
        return distance(old, new) <= RTOL
    if isinstance(old, str) and isinstance(new, str) and old != new:
        return " " in old and _same_sentence(old, new)
    return type(old) is type(new) and bool(old == new)


def distance(old: Any, new: Any) -> float:
    """How far two numbers are apart, in units of the larger; absolute, in units of `ATOL` over
    `RTOL`, below that. 0 for what are no numbers."""
    if not _is_float(old, new):
        return 0.0
    return float(abs(old - new) / max(abs(old), abs(new), ATOL / RTOL))


def _is_float(old: Any, new: Any) -> bool:
    """Numbers of which at least one is not a count."""
    kinds = {type(old), type(new)}
    return float in kinds and kinds <= {float, int}


def _same_sentence(old: str, new: str) -> bool:
    """The same words around numbers that differ by no more than a unit of their last digit."""
    if ROUNDED.split(old) != ROUNDED.split(new):
        return False
    numbers = zip(ROUNDED.findall(old), ROUNDED.findall(new), strict=True)
    return all(abs(float(a) - float(b)) <= 1.001 * max(_unit(a), _unit(b)) for a, b in numbers)


def _unit(number: str) -> float:
    """One in the last digit of a number as it is written."""
    digits, _, power = number.partition("e")
    return float(10.0 ** (int(power or 0) - len(digits.partition(".")[2])))


def _content(release: Release) -> dict[str, Any]:
    """A release as nested plain data, what decides first."""
    documents = {
        name.removesuffix(".json"): json.loads(content)
        for name, content in release.files.items()
        if name.endswith(".json")
    }
    models = {regime: release.rungs(regime) for regime in sorted(release.models)}
    couplings = {
        regime: {rung: _couplings(model) for rung, model in rungs.items()}
        for regime, rungs in models.items()
    }
    return {"fallback": documents.pop("fallback"), "couplings": couplings, **documents}


def _couplings(model: ImpactModel) -> dict[str, Any]:
    """Which names are coupled, then by how much."""
    cells = model.pairs()
    pairs = [
        f"{model.symbols[i]} by {model.symbols[j]}"
        for i, j in zip(cells["i"].tolist(), cells["j"].tolist(), strict=True)
    ]
    numbers = {
        name: dict(zip(pairs, (_plain(x) for x in cells[name].tolist()), strict=True))
        for name in ("bps", "se", "frequency")
    }
    return {"pairs": dict.fromkeys(pairs, True), **numbers}


def _plain(number: float) -> float | str:
    """A number, or 'nan', which equals itself."""
    return number if number == number else "nan"


def _places(old: Any, new: Any, where: str) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Every leaf of either, in the order of the first, what only one has last."""
    if isinstance(old, list) and isinstance(new, list):
        old, new = dict(enumerate(old)), dict(enumerate(new))
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        yield where, (old, new)
        return
    for name in dict.fromkeys([*old, *new]):
        inner = f"{where}[{name}]" if isinstance(name, int) else f"{where}.{name}".lstrip(".")
        if name in old and name in new:
            yield from _places(old[name], new[name], inner)
        else:
            yield inner, (old.get(name, ABSENT), new.get(name, ABSENT))


def _short(value: Any) -> str:
    """A value as one may read it on a line."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
