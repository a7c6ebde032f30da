"""Sizes and imports of the product's code, as told in docs/architecture.md.

    .venv/bin/python benchmarks/code_measures.py [--root CHECKOUT]

A *module* is a file, a *function* any `def`; percentiles are over all, empty files aside. An
*arrow* of a package is an import between two of its direct members (a module, or a subpackage as a
whole; imports inside functions and for type checkers count), its *layers* the longest chain of
such imports. *Untyped dicts* are annotations `dict[str, Any]` and `Mapping[str, Any]`, and those
*between modules* the ones in signatures of public functions (`to_dict` and `from_dict` aside) and
in fields of public classes. Prints Markdown.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("src/crossimpact", "expectations", "registry", "pipelines", "dags", "ops", "cli")
UNTYPED = re.compile(r"\b(?:[dD]ict|Mapping)\[str, Any\]")
LONG = 350


@dataclass(frozen=True)
class Sizes:
    """Lengths of modules and functions, lines."""

    modules: Sequence[int]
    functions: Sequence[int]
    untyped: int
    between: int

    @classmethod
    def of(cls, files: Iterable[Path]) -> Sizes:
        texts = [path.read_text() for path in files]
        functions = [
            (node.end_lineno or node.lineno) - node.lineno + 1
            for text in texts
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        modules = [len(text.splitlines()) for text in texts]
        untyped = sum(len(UNTYPED.findall(text)) for text in texts)
        shared = sum(between_modules(ast.parse(text).body) for text in texts)
        return cls(modules, functions, untyped, shared)

    def cells(self) -> list[str]:
        modules = [lines for lines in self.modules if lines > 1]
        over = sum(lines > LONG for lines in modules)
        return [
            str(len(self.modules)), f"{sum(self.modules):,}",
            summary(modules), str(over), summary(self.functions),
            str(self.untyped), str(self.between),
        ]  # fmt: skip


def between_modules(body: Iterable[ast.stmt]) -> int:
    """Untyped dicts that other modules are given or give."""
    count = 0
    for node in body:
        name = getattr(node, "name", "")
        if name.startswith("_") or name in ("to_dict", "from_dict"):
            continue
        if isinstance(node, ast.ClassDef):
            fields = [line for line in node.body if isinstance(line, ast.AnnAssign)]
            count += sum(is_untyped(field.annotation) for field in fields)
            count += between_modules(node.body)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count += sum(map(is_untyped, [node.returns, *(one.annotation for one in given)]))
    return count


def is_untyped(annotation: ast.expr | None) -> bool:
    return annotation is not None and bool(UNTYPED.search(ast.unparse(annotation)))


def summary(lengths: Sequence[int]) -> str:
    """Median, 90th percentile and largest."""
    return f"{np.median(lengths):.0f} / {np.quantile(lengths, 0.9):.0f} / {max(lengths)}"


def imports(package: str) -> tuple[int, int, str]:
    """Direct members of a package, imports between them, and the longest chain of these."""
    graph = grimp.build_graph(package, cache_dir=None)
    members = graph.find_children(package)

    def member(module: str) -> str:
        return ".".join(module.split(".")[: package.count(".") + 2])

    arrows = {
        (member(one), member(other))
        for one in graph.modules - {package}
        for other in graph.find_modules_directly_imported_by(one)
        if other != package and member(one) != member(other)
    }

    return len(members), len(arrows), layers(members, arrows)


def layers(members: Iterable[str], arrows: Iterable[tuple[str, str]]) -> str:
    """Modules of the longest chain, or the circle that there is."""
    below: dict[str, set[str]] = {name: set() for name in members}
    for above, name in arrows:
        below[above].add(name)
    sorter, rounds = TopologicalSorter(below), 0
    try:
        sorter.prepare()
    except CycleError as error:
        return f"circle: {' -> '.join(error.args[1])}"
    while sorter:
        sorter.done(*sorter.get_ready())
        rounds += 1
    return str(rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="checkout to measure")
    root = parser.parse_args().root.resolve()
    head = (
        "folder", "modules", "lines", "module med / p90 / max", f"over {LONG}",
        "function med / p90 / max", "untyped dicts", "between modules",
    )  # fmt: skip
    print(f"| {' | '.join(head)} |\n| --- |{' ---: |' * (len(head) - 1)}")
    found = {name: sorted((root / name).rglob("*.py")) for name in FOLDERS}
    found["all"] = [path for files in found.values() for path in files]
    for name, files in found.items():
        print(f"| {' | '.join([name, *Sizes.of(files).cells()])} |")
    sys.path[:0] = [str(root), str(root / "src")]
    print("\n| package | members | arrows | layers |\n| --- | ---: | ---: | ---: |")
    for package in ("pipelines", "crossimpact", "registry", "cli"):
        print(f"| {' | '.join(map(str, [package, *imports(package)]))} |")


if __name__ == "__main__":
    main()
