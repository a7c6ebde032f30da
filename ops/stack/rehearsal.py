"""The rest of a service's day: live, TCA, metrics, backup, a kill of all, a restored copy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx

from crossimpact.consumer.address import MODEL
from ops.airflow_api import wait_for
from ops.stack import backup, intrusion, secrets
from ops.stack.form import bring_up
from ops.stack.migrate import LOGINS
from ops.stack.opening import MLFLOW, PROMETHEUS, START_S, Opening
from ops.stack.questions import SMALL, events, need, samples, spread, told


class Rehearsal(Opening):
    """A whole day; each step needs those before it."""

    def rest(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """What follows, up to the end."""
        if self.size != SMALL:
            yield "one process", self.same_alone
        yield "live loop", self.live_loop
        yield "live session", self.live_session
        yield "daily TCA", self.tca
        yield "metrics", self.metrics
        yield "writes refused", self.refused
        yield "secrets kept", self.kept
        yield "backup", self.back_up
        yield "kill -9 of all", self.kill
        yield "restore", self.restore
        yield "stop", self.stop

    def same_alone(self) -> str:
        """The same dates fitted by the command line in one process, in a home of its own."""
        alone = "unset MLFLOW_TRACKING_URI; exec python -m crossimpact refit /srv/landing "
        done = self.form.execute("worker-1", ["sh", "-c", alone + "--home /tmp/alone --json"])
        need(done.code == 0, f"refit ended with {done.code}: {done.err[-500:]}")
        digest = json.loads(done.out)["digest"]
        need(digest == self.digest, f"two workers made {self.digest}, one process {digest}")
        return f"release {digest[:12]} bit by bit, as by two workers"

    def live_loop(self) -> str:
        """The service itself: events into a file of the feed, decisions out of it."""
        shown = json.loads((self.folder / "desk" / "truth.json").read_text())["symbols"]
        now = datetime.now(UTC)
        feed, targets = self.form.volume("feed") / "events.jsonl", self.form.volume("targets")
        lines = "".join(json.dumps(event) + "\n" for event in events(shown, now))
        feed.write_text(lines)
        feed.chmod(0o644)

        def decided() -> list[dict[str, Any]]:
            text = (targets / "targets.jsonl").read_text()
            rows = [json.loads(line) for line in text.splitlines()]
            return [row for row in rows if row.get("release")]

        rows = wait_for(decided, 300, "a decision by the release", every_s=0.5)
        return f"{len(shown)} quotes and a parent in, {len(rows)} decisions by the release out"

    def live_session(self) -> str:
        """A landed date played, sealed, verified and replayed."""
        played = ("--play", "/srv/landing", "--date", self.last_date, "--session", "rehearsal")
        session = told(self.form, "live", "live", *played)
        need(session["sealed"], "the session is not sealed")
        verdict = told(self.form, "live", "live", "verify", "rehearsal")
        replay = told(self.form, "live", "live", "--replay", "rehearsal")
        need(verdict["ok"] and replay["differs"] is None, f"{verdict} {replay}")
        return (
            f"{replay['lines']} lines, {replay['decisions']} decisions, sealed, replays bit by bit"
        )

    def tca(self) -> str:
        _, tasks = self.run("daily_tca", date=self.last_date)
        page = self.form.volume("home") / "reports" / f"tca-{self.last_date}.html"
        need(page.exists(), f"no page {page.name}")
        return f"page {page.name}, {page.stat().st_size / 1024:.0f} kB, on {spread(tasks)}"

    def metrics(self) -> str:
        """What Prometheus has scraped; it asks for a login."""
        seen = []
        for name, port in (("live", 9464), ("metrics", 9465)):
            if name in self.names:
                seen.append(f"{name} {len(samples(f'http://127.0.0.1:{port}/metrics'))} samples")
        if "prometheus" in self.names:
            seen.append(self.scraped())
        return ", ".join(seen)

    def scraped(self) -> str:
        login = ("prometheus", self.secrets["PROMETHEUS_PASSWORD"])
        with httpx.Client(base_url=PROMETHEUS, trust_env=False, timeout=60) as client:
            nobody = client.get("/api/v1/targets").status_code
            need(nobody == 401, f"Prometheus answers {nobody} without a login")

            def up() -> list[str] | None:
                rows = client.get("/api/v1/targets", auth=login).json()["data"]["activeTargets"]
                return None if down(rows) else sorted(row["labels"]["job"] for row in rows)

            def down(rows: list[dict[str, Any]]) -> bool:
                return any(row["health"] != "up" for row in rows)

            jobs = wait_for(up, 180, "a scrape of every target", every_s=2.0)
            firing = client.get("/api/v1/alerts", auth=login).json()["data"]["alerts"]
        names = sorted({row["labels"]["alertname"] for row in firing})
        return f"Prometheus scrapes {', '.join(jobs)}; alerts {', '.join(names) or 'none'}"

    def refused(self) -> str:
        """Nobody but the platform writes to the registry, whatever he asks it."""
        with httpx.Client(base_url=MLFLOW, trust_env=False, timeout=60) as client:
            alias = {"name": MODEL, "alias": "champion"}
            login = ("auditor", self.secrets["AUDITOR_PASSWORD"])
            path = f"{intrusion.API}/registered-models/alias"
            champion = client.get(path, params=alias, auth=login).raise_for_status().json()
        run = champion["model_version"]["run_id"]
        granted = intrusion.granted(MLFLOW, self.secrets, run)
        need(not granted, f"granted: {granted}")
        return f"{len(intrusion.writes(run, ''))} requests, 403 to each person, 401 to others"

    def kept(self) -> str:
        """No secret lies in a log, a page, a table, a database, or an artefact."""
        service = self.folder / "service"
        found = intrusion.told(service, self.secrets, self.form.volume("logins") / LOGINS.name)
        need(not found, f"{len(found)}: {'; '.join(found[:3])}")
        files = sum(path.is_file() for path in service.rglob("*"))
        return f"none of {len(self.secrets)} in {files} files but where logins are kept"

    def back_up(self) -> str:
        folder = backup.backup(self.form, self.folder / "backup")
        databases = len(backup.DATABASES)
        return f"{backup.size_mb(folder):.0f} MB: home, ledger, {databases} databases, artefacts"

    def kill(self) -> str:
        killed = sum(self.form.kill(name, stay=True) for name in self.names)
        self.form.stop()
        left = self.form.left()
        need(not left, f"left over: {', '.join(left)}")
        backup.discard(self.form.volume("home"))
        return f"{killed} processes, the home deleted besides"

    def restore(self) -> str:
        """Under another path, with other passwords; the same champion has to answer."""
        kept = {secrets.FERNET: self.secrets[secrets.FERNET]}
        self.secrets = secrets.generate() | kept
        self.forms.append(self.make(self.secrets, self.folder / "elsewhere"))
        bring_up(self.form, ("postgres", "redis", "migrate"), START_S)
        backup.restore(self.form, self.folder / "backup")
        self.form.once("migrate")
        bring_up(self.form, ("mlflow", "live"), START_S)
        lines = self.ledger(self.form)
        served, _ = self.pulled()
        need(served["digest"] == self.digest, f"another champion answers: {served}")
        need(told(self.form, "live", "live", "verify", "rehearsal")["ok"], "the session is broken")
        champion = f"champion {self.digest[:12]} answers live"
        return f"ledger of {len(lines)} lines verifies, {champion}, under other passwords"

    def stop(self) -> str:
        self.form.stop()
        left = self.form.left()
        need(not left, f"left over: {', '.join(left)}")
        return "no process and no open port is left"
