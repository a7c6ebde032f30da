"""What the Dockerfile gives every process of an image: its environment and working folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ops.airflow_env import ROOT

FILE = ROOT / "Dockerfile"
PAIR = re.compile(r"(\w+)=(\S*)")


def stages(path: Path = FILE) -> dict[str, list[tuple[str, str]]]:
    """Instructions of each stage, those of the stage it is built on first."""
    found: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for line in path.read_text().replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            current = found[name] = list(found.get(base, ()))
        elif word and not word.startswith("#"):
            current.append((word, rest))
    return found


def environment(stage: str, path: Path = FILE) -> Mapping[str, str]:
    """Variables set by ENV."""
    lines = (rest for word, rest in stages(path)[stage] if word == "ENV")
    return {name: value for line in lines for name, value in PAIR.findall(line)}


def folder(stage: str, path: Path = FILE) -> str:
    """The working folder."""
    return next((r for word, r in reversed(stages(path)[stage]) if word == "WORKDIR"), "/")
