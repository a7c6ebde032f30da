"""The whole job on a demo desk, through the DAGs themselves, in one process.

`python -m ops.demo [--home DIR] [--symbols N] [--days D] [--seed S] [--today DATE] [--json]`

The desk's last date is the last weekday before today, so that what is promoted answers live.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

from crossimpact.errors import CrossImpactError
from ops import airflow_env, dagrun, summary
from ops.processes import tail
from ops.summary_tables import render
from pipelines.store.settings import home_at

if TYPE_CHECKING:
    from crossimpact.simulate import DeskSpec

LOG = "demo.log"
#: A desk that is there is kept, bit by bit, while a release of it is young enough to answer live.
KEPT = timedelta(days=30)
#: Minutes between the live session's plans, but for what makes one at once.
PLAN_MIN = 30.0
#: Sessions in the shadow look less far ahead than a desk's.
SHADOW = {"horizon": 3}
#: Seconds between a name's quotes there: fewer than a desk's, and none of them stale.
QUOTE_S = 25.0


@dataclass
class Clock:
    """Times the stages and says on the terminal which one runs."""

    terminal: TextIO
    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        print(f"  {name:<18}", end="", file=self.terminal, flush=True)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = round(time.perf_counter() - start, 2)
            print(f"{self.stages[name]:7.1f} s", file=self.terminal, flush=True)


def demo(home: Path, size: dict[str, int], today: date, terminal: TextIO) -> summary.Summary:
    """A simulated desk, the DAGs over it, its last date played live, and what came of it."""
    clock, desk = Clock(terminal), home / "demo"
    with clock.stage("simulate"):
        simulate(desk, size, today)
    with clock.stage("airflow"):
        airflow_env.migrate(home, dict(os.environ))
        dagrun.load()
    everywhere = {"landing": str(desk / "landing")}
    for dag_id in ("validate_contract", "monthly_refit", "weekly_drift", "daily_tca"):
        with clock.stage(dag_id):
            dagrun.run(dag_id, everywhere)
    with clock.stage("shadow_daily"):  # of the dates the champion has not seen: the last one
        dagrun.run("shadow_daily", {**everywhere, **SHADOW})
    with clock.stage("live"):
        session = play(home, desk)
    with clock.stage("summary"):
        result = collect(home, desk, session)
    return replace(result, stages=clock.stages, peak_mb=peak_mb())


def simulate(desk: Path, size: dict[str, int], today: date) -> None:
    """A dirty demo desk of that size up to yesterday; a recent one that is there is kept."""
    from crossimpact.simulate import DEMO_HALF_LIFE_MIN, DEMO_PERMANENT, DeskSpec
    from pipelines import simulate

    first = DeskSpec.first_date_before(today.isoformat(), size["days"])
    spec = DeskSpec(
        size["symbols"], size["days"], size["seed"], first_date=first,
        half_life_min=DEMO_HALF_LIFE_MIN, permanent=DEMO_PERMANENT,
    )  # fmt: skip
    if not is_recent(desk / "truth.json", spec, today):
        simulate.run(None, desk, spec, dirt=True)


def plain(spec: DeskSpec) -> dict[str, object]:
    """A desk's spec as its truth file holds it."""
    result: dict[str, object] = json.loads(json.dumps({**asdict(spec), "dates": spec.dates}))
    return result


def is_recent(truth: Path, spec: DeskSpec, today: date) -> bool:
    """Whether the desk of `truth` is the wanted one but for its dates, and those are recent."""
    if not truth.exists():
        return False
    known, wanted = summary.read_truth(truth), plain(spec)
    if {**known.spec, "first_date": wanted["first_date"], "dates": wanted["dates"]} != wanted:
        return False
    age = today - date.fromisoformat(known.dates[-1])
    return timedelta(0) < age <= KEPT


def play(home: Path, desk: Path) -> Path:
    """Play the last landed date to the champion; the journal. One that is sealed is kept."""
    from pipelines import release
    from pipelines.live import journal, run
    from pipelines.live.places import Places
    from pipelines.live.play import Player
    from pipelines.store.landing import Landing
    from pipelines.store.settings import Run, Settings

    settings, landing = Settings(home, run=Run(at=datetime.now(UTC))), desk / "landing"
    date = Landing(landing).all_dates()[-1]
    session = f"demo-{date}-{release.champion(settings)[0].digest[:8]}"
    path = Places(home).journal(session)
    if not journal.manifest_of(path).exists():
        asked = run.Asked(session, (), (), "demo", every_min=PLAN_MIN, watch=False)
        player = Player(settings, Landing(landing), date, quote_s=QUOTE_S)
        run.run(settings, asked, lambda: datetime.now(UTC), player)
    return path


def collect(home: Path, desk: Path, session: Path) -> summary.Summary:
    from pipelines.store.landing import Landing
    from pipelines.store.settings import Settings

    truth = summary.read_truth(desk / "truth.json")
    return summary.collect(
        Settings(home), Landing(desk / "landing"), truth, session, lambda: datetime.now(UTC)
    )


def peak_mb() -> float:
    """Largest resident memory of this process or of one of its children, in MB."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(usage.ru_maxrss for usage in usages) / 1024


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.demo", description=__doc__)
    parser.add_argument("--home", type=Path, default=os.environ.get("CROSSIMPACT_HOME"))
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--today", type=date.fromisoformat, default=datetime.now(UTC).date(), metavar="DATE"
    )
    parser.add_argument("--json", action="store_true", help="the summary as JSON on stdout")
    arguments = parser.parse_args(argv)
    home = home_at(arguments.home or ".crossimpact")
    size = {name: getattr(arguments, name) for name in ("symbols", "days", "seed")}
    return run(home, size, arguments.today, as_json=arguments.json)


def run(home: Path, size: dict[str, int], today: date, *, as_json: bool) -> int:
    """The demo as a whole, in this process, which becomes one of Airflow's; the exit code."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # the demo keeps to its home
    airflow_env.enter(home, AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR", CROSSIMPACT_AUTO_PROMOTE="1")
    log = home / "logs" / LOG
    log.write_text("")
    try:
        return show(log, lambda terminal: demo(home, size, today, terminal), as_json=as_json)
    finally:
        dagrun.end_quietly(log)


def show(log: Path, job: Callable[[TextIO], summary.Summary], *, as_json: bool) -> int:
    """Run `job` with its noise in `log`, print what it found; the exit code."""
    try:
        with dagrun.output_to(log) as terminal:
            result = job(terminal)
    except CrossImpactError as error:
        print(f"\n{tail(log, 12)}\n\ndemo failed: {error} (log: {log})", file=sys.stderr)
        return error.exit_code
    if as_json:
        print(json.dumps(result.to_dict(), indent=1))
    else:
        render(Console(), result)
    lost = summary.unbalanced(result.tables)
    if lost:
        print(f"demo failed: rows were lost in {', '.join(lost)}", file=sys.stderr)
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
