"""Rehearse the service: `python -m ops.stack.rehearse [--small] [--faults N] [--form FORM]`.

Runs what docker-compose.yml says, prints a table of what was seen and leaves nothing behind.
Ends with 1 when a step failed, with 77 where this machine cannot rehearse.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossimpact.errors import CrossImpactError, UsageError
from ops.stack import compose, container_form, fault_kinds, faults, namespaces, secrets
from ops.stack.container_form import ContainerForm
from ops.stack.form import Form
from ops.stack.process_form import ProcessForm, install
from ops.stack.questions import FAULTY, FULL, SMALL, Row, Size
from ops.stack.rehearsal import Rehearsal

MODULE = "ops.stack.rehearse"
UNABLE = 77  # of a test that was skipped, as automake has it


def rows(steps: Iterator[tuple[str, Callable[[], str]]]) -> Iterator[Row]:
    """The steps one after the other, up to the first that fails."""
    for name, step in steps:
        begun = time.monotonic()
        try:
            seen, ok = step(), True
        except Exception as error:  # whatever it is, it is a row of the table
            told = str(error) if isinstance(error, CrossImpactError) else repr(error)
            seen, ok = told, False
        yield Row(name, time.monotonic() - begun, seen, ok)
        if not ok:
            return


def show(found: Iterator[Row]) -> bool:
    """Print each row as soon as it is known; whether all went well."""
    print(f"{'step':<16} {'s':>6}  {'ok':<4} seen", flush=True)
    begun, well = time.monotonic(), True
    for row in found:
        well = well and row.ok
        verdict = "ok" if row.ok else "FAIL"
        print(f"{row.step:<16} {row.seconds:6.1f}  {verdict:<4} {row.seen}", flush=True)
    print(f"{'all':<16} {time.monotonic() - begun:6.1f}  {'ok' if well else 'FAIL'}", flush=True)
    return well


@dataclass(frozen=True)
class Asked:
    """How it is to be rehearsed."""

    size: Size
    without: tuple[str, ...] = ()
    faults: int = 0
    kind: str = ""
    form: str = "processes"
    keep: bool = False
    deadline_s: float = 10.0


def table(rehearsal: Rehearsal, asked: Asked) -> Iterator[Row]:
    """The whole of it, up to the first step that fails; of faults, all."""
    opened = []
    for row in rows(rehearsal.opening()):
        opened.append(row.ok)
        yield row
    if not all(opened):
        return
    if asked.faults:
        yield from injected(rehearsal, asked)
        yield from rows(iter([("stop", rehearsal.stop)]))
    else:
        yield from rows(rehearsal.rest())


def injected(rehearsal: Rehearsal, asked: Asked) -> Iterator[Row]:
    form = rehearsal.form
    if not isinstance(form, ProcessForm):
        raise TypeError(f"no faults for {type(form).__name__}")
    injector = faults.Faults(rehearsal, form)
    steps = [("undisturbed", injector.remember), ("redis lost, 2 + 6", injector.redis_lost)]
    yield from rows(iter(steps))
    yield from injector.rounds(asked.faults, asked.kind)


def rehearse(folder: Path, asked: Asked) -> bool:
    """All steps below a folder; whether all went well. Whatever was started is ended."""
    known = compose.services(secrets.generate())
    left_out = {n for n, service in known.items() if service.build is None} | set(asked.without)
    names = [name for name in known if name not in left_out]

    def make(values: Mapping[str, str], at: Path) -> Form:
        """One task at a time on each worker, and a home that can be filled, where faults come."""
        more = {"WORKER_CONCURRENCY": "1"} if asked.faults else {}
        more["PULL_DEADLINE_S"] = f"{asked.deadline_s:g}"
        services = compose.services({**values, **more})
        if asked.form == "containers":
            made = ContainerForm({name: services[name] for name in names}, at)
            made.build()
            return made
        if asked.faults:
            services = {name: fault_kinds.with_clock(services[name]) for name in services}
        form = ProcessForm(services, at)
        if asked.faults:
            fault_kinds.small_disk(at / "volumes" / "home", compose.owner(services, "home"))
        return form

    rehearsal = Rehearsal(make, folder, names, asked.size)
    print(f"{len(names)} services as {asked.form}; not started: {', '.join(sorted(left_out))}")
    try:
        return show(table(rehearsal, asked))
    finally:
        for form in rehearsal.forms:
            form.stop()
            if not asked.keep:
                form.discard()


def apart(words: Sequence[str], module: str = MODULE) -> None:
    """Go where processes are apart from the machine's; there is no network to fetch anything by."""
    if namespaces.INSIDE not in os.environ:
        namespaces.refuse_without()
        install()
    namespaces.enter(module, words)


def contained(words: Sequence[str]) -> None:
    """Go where containers are apart from the machine's."""
    container_form.enter(MODULE, words)


FORMS = {"processes": apart, "containers": contained}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--small", action="store_true", help="a desk of 10 names and 6 days")
    parser.add_argument("--faults", type=int, default=0, help="inject so many, instead of the rest")
    parser.add_argument("--kind", default="", help="only faults whose name holds this")
    parser.add_argument("--form", choices=list(FORMS), default="processes")
    parser.add_argument("--without", default="", help="services that are not started")
    parser.add_argument("--deadline", type=float, default=10.0, help="of a pull, seconds")
    parser.add_argument("--keep", type=Path, help="a new folder to leave everything in")
    words = sys.argv[1:] if argv is None else argv
    arguments = parser.parse_args(words)
    if arguments.faults and arguments.form != "processes":
        parser.error("faults are injected into processes only")
    try:
        FORMS[arguments.form](words)
    except UsageError as error:
        print(f"not rehearsed: {error}", file=sys.stderr)
        return UNABLE
    except CrossImpactError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="crossimpact-rehearsal-"))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        size = FAULTY if arguments.faults else SMALL if arguments.small else FULL
        without = tuple(filter(None, arguments.without.split(",")))
        keep = arguments.keep is not None
        asked = Asked(
            size, without, arguments.faults, arguments.kind, arguments.form, keep,
            arguments.deadline,
        )  # fmt: skip
        return 0 if rehearse(folder, asked) else 1
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
