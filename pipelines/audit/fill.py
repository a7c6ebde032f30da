"""One fill, from the landed file to the releases that were fitted on it, or why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import duckdb

from crossimpact.errors import UsageError
from pipelines.audit import zone
from pipelines.audit.history import Row, asked, opened, rows
from pipelines.audit.landed import count_rows
from pipelines.audit.ledger import Ledger
from pipelines.audit.releases import Made, made
from pipelines.features import MIN_NET_SHARE
from pipelines.store import stale
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, file_sha256, readable

FILLS = "child_fills"
OWN = "features-own-"
BUILT = ("buckets", "regimes")


@dataclass(frozen=True)
class FillTrace:
    """Where a fill was landed, what was said of it, and what became of it.

    Attributes
    ----------
    fill
        Its id, as landed.
    landed
        Where it lies now: path below the landing root, 0-based row, and whether the file is the one
        that was last judged.
    verdicts
        By date and entry of the ledger: accepted, quarantined, or no longer there.
    rules
        Every rule it ever broke, with column, value, and status.
    buckets
        In which bucket and regime its flow is, by bucket width, and its fate there.
    releases
        Per release whether it was fitted on this fill, and why not.
    """

    fill: str
    landed: list[Row]
    verdicts: list[Row]
    rules: list[Row]
    buckets: list[Row]
    releases: list[Row]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def trace(settings: Settings, fill: str, release: str | None = None) -> FillTrace:
    """Follow a fill id through landing, verdicts, buckets and releases.

    Parameters
    ----------
    fill
        Its `fill_id`; of several venues' equal ids all are told.
    release
        Only this release, by id or the beginning of its digest; None tells all of the home.

    Raises
    ------
    UsageError
        When the home has no ledger, or the id was never landed here.
    """
    chosen = made(settings, release)
    ledger = Ledger.of(settings)
    with opened(settings) as connection:
        entries = rows(connection, "SELECT * EXCLUDE (violations) FROM entries ORDER BY date, seq")
        broken = rows(connection, BROKEN, {"fill": fill, "keyed": f"{fill}|"})
        refused = rows(connection, REFUSED, {"fill": fill, "keyed": f"{fill}|"})
        accepted = list(_accepted(settings, connection, entries, fill))
        landed = list(_landed(settings, connection, ledger, fill))
        dates = sorted({r["date"] for r in (*broken, *accepted, *landed)})
        if not dates:
            raise UsageError(
                f"no fill {fill!r} in the ledger of {settings.home} or in its landing zone",
                "give the fill_id as it was landed",
            )
        verdicts = list(_verdicts(entries, dates, refused, accepted))
        buckets = list(_buckets(settings, connection, accepted))
    notes = stale.notes(Warehouse(settings), dates)
    told = [row for m in chosen for row in _fitted(m, dates, entries, accepted, refused, buckets)]
    return FillTrace(fill, landed, verdicts, broken, buckets, told, notes)


BROKEN = f"""
    SELECT date, rule, severity, cascade, "column", "value", key, file, row, status,
        first_seen, first_run, last_seen, ended_by
    FROM history
    WHERE "table" = '{FILLS}' AND (key = $fill OR starts_with(key, $keyed))
    ORDER BY date, file, row, rule
"""

#: By which entry it was quarantined, under which rules.
REFUSED = f"""
    SELECT date, seq, rule
    FROM audit_violations
    WHERE "table" = '{FILLS}' AND severity = 'quarantine'
        AND (key = $fill OR starts_with(key, $keyed))
"""


def _accepted(
    settings: Settings, connection: duckdb.DuckDBPyConnection, entries: Sequence[Row], fill: str
) -> Iterator[Row]:
    """The fill in every accepted partition that was ever live, superseded ones too."""
    warehouse = Warehouse(settings)
    files = {
        (entry["date"], part["file"])
        for entry in entries
        for part in entry["partitions"]
        if (part["layer"], part["table"]) == ("accepted", FILLS)
    }
    for date, name in sorted(files):
        path = warehouse.part("accepted", FILLS, date, name)
        if path.exists():
            query = (
                "SELECT * FROM read_parquet($path, hive_partitioning = false) WHERE fill_id = $fill"
            )
            found = connection.execute(query, {"path": readable(path), "fill": fill})
            names = [column for column, *_ in found.description or ()]
            for row in found.fetchall():
                yield {"date": date, "part": name, **dict(zip(names, row, strict=True))}


def _landed(
    settings: Settings, connection: duckdb.DuckDBPyConnection, ledger: Ledger, fill: str
) -> Iterator[Row]:
    """Where the id lies in the landing zone now."""
    root = zone.recorded(settings.home)
    if root is None or not root.is_dir():
        return
    landing = Landing(root)
    for date in landing.dates(FILLS):
        last = ledger.last(date)
        judged = {file["path"]: file["sha256"] for file in last["files"]} if last else {}
        for path in landing.files(FILLS, date):
            for row in _rows_of(connection, path, fill):
                place = path.relative_to(root).as_posix()
                same = judged.get(place) == file_sha256(path)
                yield {"date": date, "path": place, "row": row, "root": str(root),
                       "judged": "as it is" if same else "not as it is now"}  # fmt: skip


def _rows_of(connection: duckdb.DuckDBPyConnection, path: Path, fill: str) -> list[int]:
    source = "read_parquet($path, file_row_number = true, hive_partitioning = false)"
    if path.suffix != ".parquet":
        source = (
            "(SELECT *, row_number() OVER () - 1 AS file_row_number"
            " FROM read_csv($path, all_varchar = true, header = true, parallel = false))"
        )
    if count_rows(path) is None:
        return []
    try:
        found = connection.execute(
            f"SELECT file_row_number FROM {source} WHERE fill_id = $fill ORDER BY 1",
            {"path": readable(path), "fill": fill},
        ).fetchall()
    except duckdb.BinderException:  # a file without ids: the judge says so
        return []
    return [int(row) for (row,) in found]


def _verdicts(
    entries: Sequence[Row], dates: Sequence[str], refused: Sequence[Row], accepted: Sequence[Row]
) -> Iterator[Row]:
    condemned = {(row["date"], row["seq"]) for row in refused}
    for entry in entries:
        if entry["date"] not in dates:
            continue
        said = "blocked: nothing of the date was published"
        if entry["kind"] == "removed":
            said = "the landing lost the date"
        elif entry["kind"] in ("judged", "found"):
            parts = {p["file"] for p in entry["partitions"] if p["layer"] == "accepted"}
            is_in = any(r["part"] in parts and r["date"] == entry["date"] for r in accepted)
            where = (entry["date"], entry["seq"])
            out = "quarantined" if where in condemned else "not in the landing"
            said = "accepted" if is_in else out
        yield {"date": entry["date"], "entry": entry["seq"], "run": entry["run"],
               "at": entry["moment"], "verdict": said,
               "contract": entry["contract_version"]}  # fmt: skip


def _buckets(
    settings: Settings, connection: duckdb.DuckDBPyConnection, accepted: Sequence[Row]
) -> Iterator[Row]:
    """The bucket of the accepted fill in every width that was built."""
    warehouse = Warehouse(settings)
    layers = [name for name in warehouse.layers() if fnmatchcase(name, f"{OWN}*s")]
    for row in accepted:
        live = warehouse.manifest("accepted", FILLS, row["date"])
        if live is None or live.file != row["part"]:
            continue
        for layer in layers:
            if any(
                warehouse.manifest(layer, t, row["date"]) is None for t in ("buckets", "regimes")
            ):
                continue
            for table in ("buckets", "regimes"):
                connection.execute(f"DROP TABLE IF EXISTS {table}")
                warehouse.attach(connection, layer, table, [row["date"]])
            width = int(layer.removeprefix(OWN).removesuffix("s"))
            (found,) = asked(connection, "fill_bucket", {
                "symbol": row["symbol"], "at": row["fill_ts"], "bucket_s": width,
                "min_net_share": MIN_NET_SHARE["own"],
            })  # fmt: skip
            yield {"date": row["date"], "symbol": row["symbol"], "bucket_s": width, **found}


def _fitted(
    release: Made,
    dates: Sequence[str],
    entries: Sequence[Row],
    accepted: Sequence[Row],
    refused: Sequence[Row],
    buckets: Sequence[Row],
) -> Iterator[Row]:
    for date in dates:
        yield {"release": release.id, "as_of": release.as_of, "date": date,
               **_in_release(release, date, entries, accepted, refused, buckets)}  # fmt: skip


def _in_release(
    release: Made,
    date: str,
    entries: Sequence[Row],
    accepted: Sequence[Row],
    refused: Sequence[Row],
    buckets: Sequence[Row],
) -> Mapping[str, str]:
    """Whether the release was fitted on the fill, and why."""
    if not release.first <= date <= release.last:
        return {"fitted": "no", "why": f"its window is {release.first} to {release.last}"}
    if release.flow != "own":
        return {"fitted": "no", "why": "it was fitted on public flow"}
    if not release.data:
        return {"fitted": "unknown", "why": "it was made before releases kept their data's digests"}
    if date not in release.data:
        return {"fitted": "no", "why": "the date was not landed when it was made"}
    mine = [e for e in entries if e["date"] == date and e["origin"] == release.data[date]]
    if not mine:
        return {"fitted": "unknown", "why": "no entry of this ledger has the data it names"}
    entry = mine[-1]
    parts = {p["file"] for p in entry["partitions"] if p["layer"] == "accepted"}
    if not any(row["part"] in parts and row["date"] == date for row in accepted):
        where = (date, entry["seq"])
        why = sorted({row["rule"] for row in refused if (row["date"], row["seq"]) == where})
        told = f"quarantined by {', '.join(why)}" if why else "not in what was landed"
        return {"fitted": "no", "why": f"{told} (entry {entry['seq']})"}
    fates = {r["fate"] for r in buckets if r["date"] == date and r["bucket_s"] == release.bucket_s}
    fate = next(iter(fates), "its buckets were built anew since")
    return {"fitted": "yes" if fate == "fitted" else "no", "why": f"{fate} (entry {entry['seq']})"}
