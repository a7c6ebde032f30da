"""The platform's metrics in Prometheus' text form: served, or written to a file once.

Each part of a reading fails by itself: what can be read is told, what cannot is named by
`crossimpact_reading_failed`, with the reason in the log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from threading import Event, Lock

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from crossimpact import __version__
from crossimpact.atomic import write_atomic
from crossimpact.errors import CrossImpactError, Unavailable, UsageError
from pipelines.monitoring import dag_runs
from pipelines.monitoring import families as told
from pipelines.monitoring.families import FAMILIES, Sample
from pipelines.monitoring.home import Home
from pipelines.store.settings import Settings

LOG = logging.getLogger("crossimpact.metrics")


class Platform(Collector):
    """All numbers of a home, read when they are asked for, by one reader at a time.

    Parameters
    ----------
    settings
        The home.
    clock
        Gives the time, UTC.
    """

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._home, self._clock, self._lock = Home(settings), clock, Lock()
        self._told: dict[str, str] = {}

    def read(self) -> list[Sample]:
        """Every number that can be had now."""
        home = self._home
        parts: dict[str, Callable[[], Iterable[Sample]]] = {
            "champion": home.champion, "dates": home.dates, "drift": home.drift,
            "ledger": home.ledger, "disk": home.disk, "registry": home.registry,
            "dag_runs": self._dag_runs,
        }  # fmt: skip
        result = [told.BUILD.of(1, __version__)]
        with self._lock:
            for name, part in parts.items():
                result += self._part(name, part)
        return result

    def _part(self, name: str, part: Callable[[], Iterable[Sample]]) -> Iterator[Sample]:
        start, failed = time.perf_counter(), ""
        try:
            yield from list(part())
        except (CrossImpactError, OSError, ValueError, KeyError, TypeError) as error:
            failed = f"{type(error).__name__}: {error}"
        self._tell(name, failed)
        yield told.READ_FAILED.of(bool(failed), name)
        yield told.READ_SECONDS.of(time.perf_counter() - start, name)

    def _tell(self, name: str, failed: str) -> None:
        """Log a change once, not with every scrape."""
        if failed and failed != self._told.get(name):
            LOG.warning("%s cannot be read: %s", name, failed)
        elif not failed and self._told.get(name):
            LOG.warning("%s can be read again", name)
        self._told[name] = failed

    def _dag_runs(self) -> Iterator[Sample]:
        found = dag_runs.database(self._home.settings.home)
        if found is None:
            return
        try:
            with found.connect() as connection:
                yield from list(dag_runs.samples(connection, self._clock()))
        except Unavailable as error:
            self._tell("airflow", str(error))
            yield told.AIRFLOW_UP.of(0)
        else:
            self._tell("airflow", "")
            yield told.AIRFLOW_UP.of(1)

    def collect(self) -> Iterator[Metric]:
        """As Prometheus' client asks for it."""
        families = {family: _empty(family) for family in FAMILIES}
        for sample in self.read():
            families[sample.family].add_metric(sample.labels, sample.value)
        yield from (metric for metric in families.values() if metric.samples)


def _empty(family: told.Family) -> GaugeMetricFamily:
    return GaugeMetricFamily(family.name, family.help, labels=family.labels)


def _registry(settings: Settings, clock: Callable[[], datetime]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Platform(settings, clock))
    return registry


def write(settings: Settings, file: Path, clock: Callable[[], datetime]) -> int:
    """Write the metrics to a file in one step (node_exporter's textfile, say); how many lines."""
    content = generate_latest(_registry(settings, clock))
    write_atomic(file, content)
    return content.count(b"\n")


def serve(
    settings: Settings, host: str, port: int, clock: Callable[[], datetime], ended: Event
) -> None:
    """Answer `/metrics` until `ended` is set.

    Raises
    ------
    UsageError
        When the port cannot be had.
    """
    try:
        server, thread = start_http_server(port, host, _registry(settings, clock))
    except OSError as error:
        raise UsageError(
            f"port {port} of {host} cannot be had: {error.strerror}", "give another --port"
        ) from error
    LOG.info("metrics at http://%s:%d/metrics", host, server.server_port)
    ended.wait()
    server.shutdown()
    server.server_close()
    thread.join()
