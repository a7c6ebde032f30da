"""What a validation writes down: a verdict on a date, before the date becomes visible."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crossimpact import __version__, contract
from crossimpact.waiver import NO_WAIVERS, Waivers
from pipelines.audit import columns, rules
from pipelines.audit.landed import LandedFile, count_rows
from pipelines.audit.ledger import Ledger
from pipelines.date_report import DateReport
from pipelines.findings import Finding
from pipelines.store import stale
from pipelines.store.landing import Landing, Problem
from pipelines.store.manifest import Day
from pipelines.store.warehouse import Draft, Warehouse

#: Verdicts of an entry: rows were split, nothing was published, the landing lost the date, or what
#: an earlier version of the code had published without an entry.
JUDGED, BLOCKED, REMOVED, FOUND = "judged", "blocked", "removed", "found"
GONE = "no longer in the landing zone"
Files = Sequence[LandedFile]


@dataclass(frozen=True)
class Recorder:
    """Writes the ledger of a home about one landing zone."""

    warehouse: Warehouse
    landing: Landing
    waivers: Waivers = NO_WAIVERS

    def show(self, draft: Draft, files: Files, report: DateReport) -> None:
        """Enter the verdict on a date, then make what was written of it all that is live."""
        self._found(draft.date)
        day = draft.written
        broken = self._broken(draft, day)
        self._append(draft.date, JUDGED, files, [], day, broken, report.findings)
        draft.show()
        stale.clear(self.warehouse, draft.date)

    def block(self, date: str, files: Files, problems: Sequence[Problem]) -> None:
        """Enter that nothing of a date was published; what is live of it is stale from now on."""
        self._found(date)
        self._append(date, BLOCKED, files, problems)
        why = "; ".join(map(str, problems[:3]))
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        stale.mark(self.warehouse, date, why + more, self.warehouse.settings.run)

    def remove(self, date: str) -> None:
        """Enter that a live date is no longer landed."""
        self._found(date)
        self._append(date, REMOVED, [], [])
        stale.mark(self.warehouse, date, GONE, self.warehouse.settings.run)

    def _found(self, date: str) -> None:
        """What is live without an entry was published before there was a ledger."""
        day = self.warehouse.day(date)
        if day is not None and not Ledger.of(self.warehouse.settings).files(date):
            broken = self._broken(self.warehouse, day)
            self._append(date, FOUND, [], [], day, broken)

    def _append(
        self,
        date: str,
        kind: str,
        files: Files,
        problems: Sequence[Problem],
        day: Day | None = None,
        broken: pa.Table | None = None,
        findings: Sequence[Finding] = (),
    ) -> None:
        known = {} if kind == FOUND else rules.digests()
        run = self.warehouse.settings.run
        entry = {
            "run": run.id, "moment": run.at, "who": run.who, "date": date, "kind": kind,
            "verdict": "blocked" if problems else "" if kind == REMOVED else "ok",
            "landing": "" if kind == FOUND else str(self.landing.root.resolve()),
            "contract_version": contract.VERSION, "code_version": __version__,
            "judge": "" if kind == FOUND else rules.judge(),
            "rules": [{"rule": name, "digest": digest} for name, digest in known.items()],
            "waivers": [str(w) for w in self.waivers.of(contract.TABLES, date)],
            "manifest": day.digest if day else "",
            "origin": day.origin if day else "",
            "files": [asdict(f) | {"rows": count_rows(self.landing.root / f.path)} for f in files],
            "problems": [asdict(problem) for problem in problems],
            "findings": json.dumps([finding.to_dict() for finding in findings]),
            **(_counts(day) if day else {"counts": [], "broken": [], "partitions": []}),
        }  # fmt: skip
        none = columns.violations(pa.table({}), "", "")
        Ledger.of(self.warehouse.settings).append(entry, none if broken is None else broken)

    def _broken(self, warehouse: Warehouse, day: Day) -> pa.Table:
        """Every broken row of a date, in the order of tables."""
        parts = [
            columns.violations(
                pq.ParquetFile(warehouse.file(manifest)).read(), manifest.table, day.date
            )
            for table in day.tables
            if (manifest := day.find("violations", table)) is not None and manifest.rows
        ]
        return pa.concat_tables(parts) if parts else columns.violations(pa.table({}), "", "")


def _counts(day: Day) -> dict[str, list[dict[str, Any]]]:
    """Rows and broken rules per table, and the partitions."""
    ordered = [m for t in day.tables for m in day.partitions if m.table == t]
    accepted = [m for m in ordered if m.layer == "accepted"]
    return {
        "counts": [{"table": m.table, **m.extra.get("rows", {})} for m in accepted],
        "broken": [
            {"table": m.table, "rule": rule, "rows": rows}
            for m in accepted
            for rule, rows in m.extra.get("rules", {}).items()
        ],
        "partitions": [
            {name: getattr(m, name) for name in ("layer", "table", "file", "rows", "sha256")}
            for m in ordered
        ],
    }
