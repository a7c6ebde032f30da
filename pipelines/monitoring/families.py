"""The platform's metrics by name: what each says, its unit and its labels.

All are gauges, in base units (seconds, bytes, shares from 0 to 1); a moment is a
`..._timestamp_seconds`, so that a monitor's own clock tells how long ago it was. What is not known
is not exported. The live loop exports its own, `xi_live_*` (`pipelines.live.metrics`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One number of a family, with the values of its labels."""

    family: Family
    value: float
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.family.labels):
            raise ValueError(f"{self.family.name} has the labels {self.family.labels}")


@dataclass(frozen=True)
class Family:
    """A metric's name, what it says, and the names of its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    def of(self, value: float, *labels: str) -> Sample:
        """A number of this family."""
        return Sample(self, float(value), labels)


BUILD = Family("crossimpact_build_info", "Version of the code that answers, always 1", ("version",))
READ_FAILED = Family(
    "crossimpact_reading_failed", "Whether a part could not be read this time, 0 or 1", ("part",)
)
READ_SECONDS = Family("crossimpact_reading_seconds", "Time it took to read a part", ("part",))

CHAMPION = Family(
    "crossimpact_champion_info", "The release that is champion, always 1", ("release", "version")
)
PROMOTED = Family(
    "crossimpact_champion_promoted_timestamp_seconds", "When the champion was promoted"
)
AS_OF = Family(
    "crossimpact_champion_as_of_timestamp_seconds", "Date of the champion's data", ("regime",)
)
EXPIRES = Family(
    "crossimpact_champion_expires_timestamp_seconds",
    "When the champion may not answer any longer",
    ("regime",),
)
RUNG = Family(
    "crossimpact_rung_in_force",
    "Whether this rung of the ladder answers for the regime, 0 or 1",
    ("regime", "rung"),
)
HELD = Family(
    "crossimpact_regime_demoted", "Whether the ledger holds the regime to a lower rung", ("regime",)
)

LAST_DATE = Family(
    "crossimpact_last_date_timestamp_seconds",
    "Last date a step has published, at 00:00 UTC",
    ("step",),
)
LANDED = Family("crossimpact_landed_rows", "Rows landed on the last accepted date", ("table",))
ACCEPTED = Family("crossimpact_accepted_rows", "Rows accepted of the last date", ("table",))
QUARANTINED = Family(
    "crossimpact_quarantine_ratio", "Share of the last date's rows in quarantine", ("table",)
)
VERDICT = Family(
    "crossimpact_drift_verdict",
    "Whether this was the last weekly verdict, 0 or 1",
    ("regime", "verdict"),
)

LEDGER_OK = Family(
    "crossimpact_ledger_whole", "Whether the ledger verifies and all of it counts, 0 or 1"
)
LEDGER_LINES = Family("crossimpact_ledger_lines", "Lines of the ledger before the first bad one")
FREE = Family("crossimpact_home_free_bytes", "Room left on the home's disk")
SIZE = Family("crossimpact_home_disk_bytes", "Size of the home's disk")
REGISTRY_UP = Family("crossimpact_registry_up", "Whether the registry answers, 0 or 1")

AIRFLOW_UP = Family("crossimpact_airflow_up", "Whether Airflow's database answers, 0 or 1")
DAG_RUNS = Family("crossimpact_dag_runs", "DAG runs in this state", ("dag_id", "state"))
DAG_SUCCESS = Family(
    "crossimpact_dag_last_success_timestamp_seconds", "End of the last good run", ("dag_id",)
)
DAG_FAILED = Family(
    "crossimpact_dag_last_run_failed", "Whether the last ended run failed, 0 or 1", ("dag_id",)
)
DAG_LATE = Family(
    "crossimpact_dag_runs_late", "Runs that are not over and past their deadline", ("dag_id",)
)
DAG_MISSED = Family(
    "crossimpact_dag_deadlines_missed", "Deadlines that Airflow has marked as missed", ("dag_id",)
)
DAG_OVERDUE = Family(
    "crossimpact_dag_overdue_seconds",
    "By how much the next run of a DAG that is not paused should have begun",
    ("dag_id",),
)

FAMILIES = (
    BUILD, READ_FAILED, READ_SECONDS, CHAMPION, PROMOTED, AS_OF, EXPIRES, RUNG, HELD, LAST_DATE,
    LANDED, ACCEPTED, QUARANTINED, VERDICT, LEDGER_OK, LEDGER_LINES, FREE, SIZE, REGISTRY_UP,
    AIRFLOW_UP, DAG_RUNS, DAG_SUCCESS, DAG_FAILED, DAG_LATE, DAG_MISSED, DAG_OVERDUE,
)  # fmt: skip
