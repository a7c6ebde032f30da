"""Recall of the contract on a desk of forty kinds of dirt: rows found under the right rule.

    PYTHONPATH=. .venv/bin/python benchmarks/contract_recall.py --symbols 40 --days 20 --rows 60

Prints rows planted and found per kind, hits of rows that nobody touched, and those of the same days
before anything was planted.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from crossimpact.simulate import DeskSpec
from tests.pipelines.planted_dirt import KINDS, recall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=40)
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--seed", type=int, default=101)
    given = parser.parse_args()
    spec = DeskSpec(symbols=given.symbols, days=given.days, seed=given.seed)
    with tempfile.TemporaryDirectory() as folder:
        found = recall(Path(folder), spec, given.rows)
    print("| kind | rule | planted | found |\n| --- | --- | ---: | ---: |")
    for name, kind in KINDS.items():
        planted = found.planted[name]
        print(f"| {name} | {kind.rule} | {len(planted)} | {len(planted & found.found)} |")
    every = sum(map(len, found.planted.values()))
    print(f"\n{every} rows of {len(KINDS)} kinds: recall {found.recall:.4%}; rows condemned that")
    print(f"nobody touched: {len(found.false_positives)}; before planting: {len(found.clean)}")


if __name__ == "__main__":
    main()
