"""Settings: where state lives and the few numbers a desk sets. One object, passed down."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crossimpact.consumer.address import check_desk
from crossimpact.errors import UsageError

if TYPE_CHECKING:
    from crossimpact.release.policy import DeskPolicy

Flow = Literal["own", "public"]
#: In a home whose partitions are in an object store: where, and the home's name there.
WAREHOUSE = "warehouse.json"
SQL_DIR = Path(__file__).resolve().parents[2] / "sql"


@dataclass(frozen=True)
class Run:
    """Who asks, for the record: the id of the run, the moment it began (UTC), and for whom."""

    id: str = ""
    at: datetime | None = None
    who: str = ""

    @property
    def words(self) -> tuple[str, str, str]:
        """As arguments of a process of its own."""
        return self.id, self.at.isoformat() if self.at else "", self.who

    @classmethod
    def of(cls, id_: str = "", at: str = "", who: str = "") -> Run:
        """Inverse of `words`."""
        return cls(id_, datetime.fromisoformat(at) if at else None, who)


@dataclass(frozen=True)
class Settings:
    """The platform's home and its data parameters.

    Attributes
    ----------
    home
        The only place where state is written: warehouse, MLflow, Airflow, ledger, reports.
    bucket_s
        Bucket width in seconds; 300 by default.
    flow
        `own`: q is the desk's executed flow, s the slippage of its fills. `public`: q is the net
        aggressor flow of all prints, s the bucket's mid return.
    memory_limit
        DuckDB's memory; it spills to `home/tmp` beyond.
    run
        Whose run this is; nothing but the record of audits depends on it.
    """

    home: Path
    bucket_s: int = 300
    flow: Flow = "own"
    memory_limit: str = "2GB"
    run: Run = Run()

    def __post_init__(self) -> None:
        check_desk()
        if not 5 <= self.bucket_s <= 3600 or 86400 % self.bucket_s:
            raise UsageError(
                f"a bucket of {self.bucket_s} s does not divide the day into 5 s to 1 h pieces",
                "use 1min, 5min or 15min, say",
            )

    @cached_property
    def policy(self) -> DeskPolicy:
        """The desk's decisions: the library's, but for what `home/policy.toml` says.

        Raises
        ------
        UsageError
            Naming every wrong key of the file.
        """
        from pipelines.store import policy_file

        return policy_file.load(self.home)

    @property
    def mlflow_uri(self) -> str:
        """Tracking store: the environment's server, else SQLite under home."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.home}/mlflow/mlflow.db"

    @property
    def warehouse_url(self) -> str | None:
        """Object store that holds the partitions: the environment's, else what the home noted."""
        if url := os.environ.get("CROSSIMPACT_WAREHOUSE"):
            return url
        with suppress(FileNotFoundError):
            return str(json.loads((self.home / WAREHOUSE).read_text())["url"])
        return None

    @property
    def pull_deadline_s(self) -> float:
        """Within which a pull answers: 2 s, or `$CROSSIMPACT_PULL_DEADLINE_S` on a slow registry.

        Raises
        ------
        UsageError
            When that is no time between 0.1 and 60 s.
        """
        text = os.environ.get("CROSSIMPACT_PULL_DEADLINE_S") or "2"
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not 0.1 <= seconds <= 60.0:
            raise UsageError(
                f"{text!r} is no deadline", "set CROSSIMPACT_PULL_DEADLINE_S to 0.1-60"
            )
        return seconds

    @property
    def feature_layer(self) -> str:
        """Features of different flows and bucket widths live side by side."""
        return f"features-{self.flow}-{self.bucket_s}s"

    @property
    def ledger_path(self) -> Path:
        return self.home / "ledger.jsonl"

    @property
    def releases(self) -> Path:
        """A verified copy of every release that was promoted from here, by digest."""
        return self.home / "releases"

    @property
    def reports(self) -> Path:
        return self.home / "reports"


def keep_private() -> None:
    """What this process and its children write from now on is not for every user of the machine.

    The group's share is as the user's own umask has it: a desk may share a home.
    """
    os.umask(os.umask(0o077) | 0o007)


def home_at(path: str | Path) -> Path:
    """A home's absolute place, links followed; links that lead in a circle lead to no folder."""
    return Path(os.path.realpath(path))


def default_home() -> Path:
    """`$CROSSIMPACT_HOME`, else `.crossimpact` under the working directory; always absolute."""
    return home_at(os.environ.get("CROSSIMPACT_HOME") or ".crossimpact")


def parse_bucket(text: str) -> int:
    """`5min`, `30s` or `1h` in seconds."""
    for suffix, seconds in (("min", 60), ("s", 1), ("h", 3600)):
        number = text.removesuffix(suffix)
        if number != text and number.isdecimal():
            return int(number) * seconds
    raise UsageError(f"bucket width {text!r} is not understood", "write it like 30s, 5min or 1h")
