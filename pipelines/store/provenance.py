"""The code a result depends on, as one digest: modules, their queries and data files, libraries.

A partition names the digests it was made from, and is made again when one of them changes. What
decided it is found by reading, not listed by hand: a module, whatever of ours it imports (inside
functions, too), the queries and files those name, and the versions of the libraries they import.
Nothing is imported for it. More than what matters may be found, never less: a changed docstring
makes a result again.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import resolve_name
from pathlib import Path

import crossimpact
from pipelines.store.settings import SQL_DIR as SQL_DIR
from pipelines.store.warehouse import text_sha256

#: Folders that hold our top packages.
SOURCES = (Path(crossimpact.__file__).parent.parent, SQL_DIR.parent)
#: Ours beside the library, as folders of the checkout.
APPLICATION = ("dags", "expectations", "pipelines", "registry", "sql")
#: Distributions that are not called as they are imported; others of that kind are found slowly.
DISTRIBUTIONS = {"sklearn": "scikit-learn"}
#: Who does a step's pieces, which comes out the same.
DECIDES_NOTHING = frozenset({"pipelines.engine.cluster"})
_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Sources:
    """What decides a result.

    Attributes
    ----------
    texts
        Source of each module, and of each query and data file, by name.
    libraries
        Version of each third-party package, by the name it is imported by.
    """

    texts: dict[str, str]
    libraries: dict[str, str]

    @property
    def digest(self) -> str:
        """sha256 of names, texts and versions."""
        named = (*sorted(self.texts.items()), *sorted(self.libraries.items()))
        return text_sha256(*(text for pair in named for text in pair))

    @property
    def meaning(self) -> str:
        """The same, whatever comments and docstrings say and however lines are broken."""
        told = {name: _meaning(text) if "/" not in name else bare_sql(text)
                for name, text in self.texts.items()}  # fmt: skip
        return Sources(told, self.libraries).digest

    def without(self, *names: str) -> Sources:
        """Less the texts whose names begin with one of these."""
        kept = {name: text for name, text in self.texts.items() if not name.startswith(names)}
        return Sources(kept, self.libraries)


@cache
def code_digest(*modules: str) -> str:
    """Digest of the `sources` of modules, the same wherever they lie; once per process."""
    return sources(*modules, places=SOURCES, queries=SQL_DIR).digest


@cache
def deployed() -> str:
    """Digest of everything installed here that makes results; the same wherever it lies.

    Workers of one deployment must agree on it, whichever task of a run each of them does.
    """
    root = SQL_DIR.parent
    folders = (SOURCES[0] / "crossimpact", *(root / name for name in APPLICATION))
    files = sorted(
        (path.relative_to(folder.parent).as_posix(), path)
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in (".py", ".sql", ".toml")
    )
    lock = root / "requirements.lock"
    files += [(lock.name, lock)] if lock.exists() else []
    return text_sha256(*(text for name, path in files for text in (name, path.read_text())))


def sources(*modules: str, places: tuple[Path, ...], queries: Path) -> Sources:
    """What the named modules depend on, read from the folders `places` and `queries`.

    Raises
    ------
    ModuleNotFoundError
        When a named module is not ours.
    """
    texts: dict[str, str] = {}
    libraries: set[str] = set()
    left = list(modules)
    written = {path: path.relative_to(queries).as_posix() for path in queries.rglob("*.sql")}
    where = cache(partial(_path, places=places))
    while left:
        name = left.pop()
        if name in texts or name in DECIDES_NOTHING:
            continue
        path = where(name)
        if path is None:
            raise ModuleNotFoundError(f"{name} is no module of {', '.join(map(str, places))}")
        texts[name] = path.read_text()
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        module = _read(texts[name], package)
        texts |= _queries(module, written) | _files(module, path.parent, package)
        for imported in module.imports:
            ours = [part for part in _ancestry(imported) if where(part)]
            left += ours
            if not ours:
                libraries.add(imported.partition(".")[0])
    wanted = sorted(libraries - sys.stdlib_module_names)
    return Sources(texts, {name: _version(name) for name in wanted})


@dataclass(frozen=True)
class _Module:
    """What a module's text names: modules, patterns of queries' names, files it may read."""

    imports: tuple[str, ...]
    queries: frozenset[str]
    files: frozenset[str]


@cache
def _read(text: str, package: str) -> _Module:
    """Read once per process, whatever depends on it: to walk a tree takes most of the time."""
    nodes = list(ast.walk(ast.parse(text)))
    constants = (node.value for node in nodes if isinstance(node, ast.Constant))
    return _Module(
        tuple(dict.fromkeys(_imports(nodes, package))),
        frozenset(_patterns(nodes)),
        frozenset(c for c in constants if isinstance(c, str) and _FILE_NAME.fullmatch(c)),
    )


def bare_sql(text: str) -> str:
    """A query without its comments and its line breaks."""
    lines = (line.partition("--")[0] for line in text.splitlines())
    return " ".join(" ".join(lines).split())


def _meaning(text: str) -> str:
    """A module's syntax tree without docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            del body[0]
    return ast.dump(tree)


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _path(name: str, places: tuple[Path, ...]) -> Path | None:
    for place in places:
        folder = place.joinpath(*name.split("."))
        for path in (folder.with_suffix(".py"), folder / "__init__.py"):
            if path.is_file():
                return path
    return None


def _ancestry(name: str) -> list[str]:
    """`a.b.c` as `a`, `a.b`, `a.b.c`: importing the last runs them all."""
    parts = name.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def _imports(nodes: list[ast.AST], package: str) -> Iterator[str]:
    """Full names; what is imported *from* a module may be a module itself."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _patterns(nodes: list[ast.AST]) -> Iterator[str]:
    """The names that calls of `sql(name)` may have."""
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "sql":
            yield _pattern(node.args[0])


def _queries(module: _Module, written: Mapping[Path, str]) -> dict[str, str]:
    """Files that calls of `sql(name)` may read; of a name put together, all that fit."""
    return {
        f"sql/{name}": path.read_text()
        for path, name in written.items()
        if any(fnmatchcase(name, f"{pattern}.sql") for pattern in module.queries)
    }


def _pattern(name: ast.expr) -> str:
    if isinstance(name, ast.Constant):
        return str(name.value)
    parts = name.values if isinstance(name, ast.JoinedStr) else [name]
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in parts)


def _files(module: _Module, folder: Path, package: str) -> dict[str, str]:
    """Data files beside a module that it names, or whose folder it names (templates, limits)."""
    beside = module.files & {path.name for path in folder.iterdir()}
    paths = [folder / word for word in beside if not (folder / word / "__init__.py").exists()]
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
    return {
        f"{package.replace('.', '/')}/{file.relative_to(folder).as_posix()}": file.read_text()
        for file in files
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }


def _version(library: str) -> str:
    """Of the distribution that brings it; one that is not installed cannot decide anything."""
    try:
        return version(DISTRIBUTIONS.get(library, library))
    except PackageNotFoundError:
        brought_by = packages_distributions().get(library, [])  # slow: reads every record
        return ", ".join(version(name) for name in sorted(set(brought_by))) or "absent"
