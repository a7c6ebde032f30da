"""CPU seconds of a verdict by stage, the ledger with it, beside a scan of every column.

    .venv/bin/python -m benchmarks.contract_speed [--symbols 100] [--days 20] [--landing ZONE]

One DuckDB thread. A stage's time is that of the process; the import of Great Expectations is told
apart, for it does not grow with the data. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb

from crossimpact import contract
from crossimpact.simulate import DeskSpec
from pipelines import books, profile, rule_counts, simulate, split, validate, violations
from pipelines.audit import answers
from pipelines.audit.ledger import Ledger
from pipelines.audit.record import Recorder
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

SPENT: Counter[str] = Counter()


def scan(landing: Landing) -> float:
    """CPU seconds of one aggregate per column of every landed file."""
    begin = time.process_time()
    with duckdb.connect(config={"threads": 1}) as connection:
        for table in contract.TABLES.values():
            kinds = {c.name: c.type for c in table.columns}
            for date in landing.dates(table.name):
                path = landing.files(table.name, date)[0]
                source = f"read_parquet('{path}', hive_partitioning = false)"
                rows = connection.sql(f"SELECT * FROM {source} LIMIT 0")
                parts = [_aggregate(name, kinds[name]) for name in rows.columns]
                connection.sql(f"SELECT {', '.join(parts)} FROM {source}").fetchall()
    return time.process_time() - begin


def _aggregate(name: str, kind: str) -> str:
    """One that reads the column: a file's statistics answer for its extremes."""
    return {"str": f"min({name} || '')", "ts": f"avg(epoch_us({name}))"}.get(kind, f"avg({name})")


@contextlib.contextmanager
def timed(stage: str) -> Iterator[None]:
    begin, inner = time.process_time(), sum(SPENT.values())
    yield
    SPENT[stage] += time.process_time() - begin - (sum(SPENT.values()) - inner)


def watch(owner: Any, name: str, stage: str) -> None:
    """Count the time of a function, less that of watched ones inside it."""
    original: Callable[..., Any] = getattr(owner, name)

    def wrapped(*args: Any, **given: Any) -> Any:
        with timed(stage):
            return original(*args, **given)

    setattr(owner, name, wrapped)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--dirt", action="store_true")
    parser.add_argument("--landing", type=Path, help="judge this zone instead of a new desk")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if given.landing is None:
            spec = DeskSpec(symbols=given.symbols, days=given.days, seed=7)
            simulate.run(None, root, spec, given.dirt)
        landing = Landing(given.landing or root / "landing")
        scans = [scan(landing) for _ in range(2)]
        with timed("import of Great Expectations"):
            import expectations.gx_runner  # noqa: F401
        watch(violations.Violations, "note_row_rules", "rules of a row")
        watch(books.Books, "__init__", "order, keys, gaps, spreads")
        watch(books.Books, "price", "prices against the mid")
        watch(split.Judgement, "_judge_across", "rules across tables")
        watch(split, "profile", "profile of the day")
        watch(profile.Profiles, "keep", "profile kept")
        watch(split, "findings", "findings of the day")
        watch(rule_counts, "judge_counts", "Great Expectations on the counts")
        split.judge_counts = rule_counts.judge_counts
        watch(Warehouse, "publish", "publishing")
        watch(Landing, "digest", "hashing")
        watch(Recorder, "_append", "ledger")
        with timed("reading, the rest"):
            validate.validate_dates(Settings(root / "home"), landing, landing.all_dates())
        scans += [scan(landing) for _ in range(2)]  # a busy machine is as busy before as after
        told = _ledger(Settings(root / "home"), landing)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    _print(statistics.median(scans), peak)
    print(told)


def _ledger(settings: Settings, landing: Landing) -> str:
    """What the ledger takes and how long the questions of an auditor do."""
    sizes = [path.stat().st_size for path in Ledger.of(settings).all_files()]
    begin = time.process_time()
    answers.day(settings, landing.all_dates()[-1])
    day, begin = time.process_time() - begin, time.process_time()
    answers.rule(settings, "snapshot_gap")
    rule = time.process_time() - begin
    return (
        f"\nLedger: {len(sizes)} entries of {sum(sizes) / len(sizes) / 1e3:,.0f} kB; `audit day`"
        f" {day:.2f} CPU s, `audit rule` {rule:.2f} CPU s"
    )


def _print(whole: float, peak: float) -> None:
    publishing = SPENT["publishing"] + SPENT["ledger"]
    total = sum(SPENT.values()) - SPENT["import of Great Expectations"]
    print(f"Scan {whole:.2f} CPU s, peak {peak:,.0f} MB\n")
    print("| stage | CPU s | x scan |\n| --- | ---: | ---: |")
    for stage, spent in SPENT.most_common():
        print(f"| {stage} | {spent:.2f} | {spent / whole:.1f} |")
    for stage, spent in (("verdict", total - publishing), ("verdict and publishing", total)):
        print(f"| **{stage}** | {spent:.2f} | {spent / whole:.1f} |")


if __name__ == "__main__":
    main()
