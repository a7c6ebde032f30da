"""What the documentation names is there: links, anchors, files, modules, commands and options."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.main import app
from crossimpact.__main__ import _parser

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [page for page in [ROOT / "SECURITY.md"] if page.exists()]
#: Where a path in the text may begin, besides the page's own folder.
BASES = (ROOT, ROOT / "src", ROOT / "src/crossimpact")
#: Written by a run, or by the reader; named by the docs and not in the repository.
MADE = {
    "article.json", "either.json", "tree.json", "early.json", "problem.json", "release.json",
    "fallback.json", "guardrails.json", "manifest.json", "_manifest.json", "reports/index.html",
    "secrets/passwords.json", "OUT/ingest.json", "MAP.toml", "truth.json", "reproduced.json",
    "landing.json", "_stale.json", "waivers.toml", "calendar.toml", "warehouse.json",
    "_owner.json", "alerts.toml",
}  # fmt: skip
SUFFIX = r"\.(?:py|sql|toml|j2|md|yaml|lock)"

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose(page: Path) -> str:
    """The page without its fenced blocks, in which brackets are no links."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)


def code(page: Path) -> list[str]:
    """Code spans, and the lines of fenced and indented blocks."""
    text = page.read_text()
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.M | re.S)
    lines = [line.strip() for block in fenced for line in block.splitlines()]
    lines += re.findall(r"^ {4}(\S.*)$", prose(page), flags=re.M)
    return lines + re.findall(r"`([^`\n]+)`", prose(page))


def anchors(page: Path) -> set[str]:
    """Anchors of the page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ +(.+)$", prose(page), flags=re.M)
    kept = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.strip().replace(" ", "-") for title in kept}


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Relative links: the path (empty: this page) and the anchor."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


@each_page
def test_links_and_their_anchors_exist(page: Path) -> None:
    dead = []
    for path, anchor in links(page):
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(f"{path}#{anchor}" if anchor else path)
    assert not dead


def repository() -> set[str]:
    """Names of all files under version control."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:  # an export of the repository, without git
        return {path.name for path in ROOT.rglob("*") if path.is_file()}
    return {Path(name).name for name in listed.stdout.splitlines()}


@each_page
def test_files_named_exist(page: Path) -> None:
    names, absent = repository(), []
    for span in code(page):
        for path in re.findall(rf"(?<![\w./<>*{{-])\.?\w[\w./-]*{SUFFIX}(?![\w*])", span):
            bare = "/" not in path and Path(path).name in names
            known = any((base / path).exists() for base in (page.parent, *BASES))
            if not (bare or known or path in MADE or path.startswith(("/", ".crossimpact/"))):
                absent.append(path)
    assert not absent


@each_page
def test_modules_run_by_name_exist(page: Path) -> None:
    named = {name for span in code(page) for name in re.findall(r"python -m ([\w.]+)", span)}
    assert not [name for name in sorted(named) if find_spec(name) is None]


@each_page
def test_python_shown_parses_and_what_it_imports_exists(page: Path) -> None:
    """What is awaited of the reader (a flow, an address) is not there, so it is not run."""
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.M | re.S):
        body = ast.parse(block).body
        imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
        given = {name.asname or name.name for node in imports for name in node.names}
        exec(compile(ast.Module(imports, []), str(page), "exec"), {})  # noqa: S102
        classes = set(re.findall(r"\b[A-Z]\w+(?=\()", block))
        assert classes <= given


COMMAND = re.compile(r"^(?:\$ )?(?:\S*/)?crossimpact(?: ([a-z-].*))?$")


def commands(page: Path) -> Iterator[str]:
    """The words behind each `crossimpact` shown, `&&` and pipes apart."""
    for span in code(page):
        for part in re.split(r"&&|\|(?!\|)|>(?!=)", span):
            if found := COMMAND.match(part.strip()):
                yield (found[1] or "").strip()


@each_page
def test_commands_and_options_shown_exist(page: Path) -> None:
    wrong = [words for words in commands(page) if not (platform_knows(words) or wheel_knows(words))]
    assert not wrong


def split(words: str) -> list[str]:
    try:
        return shlex.split(words.rstrip("\\").replace("...", "x"), comments=True)
    except ValueError:  # a span that ends within quotes
        return words.split()


def platform_knows(words: str) -> bool:
    """Whether the platform's command line has this command with these options."""
    command: Any = typer.main.get_command(app)
    rest = split(words)
    while rest and getattr(command, "commands", None):
        if rest[0].startswith("-"):
            break
        if rest[0] in command.commands:
            command = command.commands[rest.pop(0)]
        elif default := getattr(command, "default", None):  # what goes without its word
            command = command.commands[default]
        else:
            return False
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    return flags(rest) <= known | {"-h", "--help"}


def wheel_knows(words: str) -> bool:
    """Whether the command of the wheel alone has it."""
    groups = [a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)]
    rest = split(words)
    if not rest or rest[0] not in groups[0].choices:
        return False
    return flags(rest) <= set(groups[0].choices[rest[0]]._option_string_actions)


def flags(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}


def test_a_wrong_command_is_noticed() -> None:
    assert platform_knows("refit LANDING --home H")
    assert not platform_knows("refit LANDING --hose H")
    assert not platform_knows("refti LANDING")
    assert not wheel_knows("pull --home H")
