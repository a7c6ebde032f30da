"""Broken rows, each with the contract rule it breaks."""

from __future__ import annotations

from dataclasses import dataclass

from crossimpact.simulate.day import Tables
from crossimpact.simulate.market import Truth


@dataclass(frozen=True)
class Spoiled:
    """A broken row: its table, its 0-based row in the day's file, the rule it breaks."""

    table: str
    row: int
    rule: str


def plan_dirt(truth: Truth) -> dict[int, list[str]]:
    return {}


def spoil(tables: Tables, truth: Truth, day: int, kinds: list[str]) -> tuple[Tables, list[Spoiled]]:
    return tables, []
