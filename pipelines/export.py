"""Tables for other systems, as CSV with a fixed header and a fixed order of rows."""

from __future__ import annotations

from pathlib import Path

from crossimpact import contract
from crossimpact.errors import UsageError
from pipelines.config import Settings
from pipelines.landing import Landing
from pipelines.warehouse import Warehouse, quoted, sql


def export_violations(settings: Settings, landing: Landing | None, path: Path) -> int:
    """Write `table,date,file,row,key,rule_id,severity`, a line per row and broken rule; count them.

    Parameters
    ----------
    landing
        Limits the export to its dates; None exports every published date.
    path
        The CSV to replace. `file` is the landed file's name in its partition, `row` 0-based in it.
    """
    warehouse = Warehouse(settings)
    wanted = None if landing is None else set(landing.all_dates())
    with warehouse.connect() as connection:
        connection.execute(sql("validate/all_violations"))
        for table in sorted(contract.TABLES):
            for date in warehouse.dates("violations", table):
                if wanted is None or date in wanted:
                    (file,) = warehouse.files("violations", table, [date])
                    connection.execute(
                        "INSERT INTO all_violations"
                        " SELECT $name, $date, file, row, key, rule_id, severity"
                        " FROM read_parquet($file, hive_partitioning = false)",
                        {"name": table, "date": date, "file": file},
                    )
        path.parent.mkdir(parents=True, exist_ok=True)
        (rows,) = connection.execute(
            'COPY (SELECT * FROM all_violations ORDER BY "table", date, file, row, rule_id)'
            f" TO '{quoted(path)}' (FORMAT csv, HEADER)"
        ).fetchone() or (0,)
    return int(rows)


def export_regimes(settings: Settings, path: Path) -> int:
    """Write `ts,regime` (bucket start, UTC, ISO 8601) of every labelled date; count them.

    Raises
    ------
    UsageError
        When no bucket of this flow and width was ever labelled.
    """
    warehouse = Warehouse(settings)
    dates = warehouse.dates(settings.feature_layer, "regimes")
    if not dates:
        raise UsageError(
            f"no bucket is labelled in {settings.feature_layer}", "run `crossimpact refit` first"
        )
    files = warehouse.files(settings.feature_layer, "regimes", dates)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warehouse.connect() as connection:
        connection.execute("CREATE TABLE regimes AS SELECT * FROM read_parquet(?)", [files])
        (rows,) = connection.execute(
            "COPY (SELECT strftime(ts, '%Y-%m-%dT%H:%M:%SZ') AS ts, regime FROM regimes "
            "ORDER BY regimes.ts)"
            f" TO '{quoted(path)}' (FORMAT csv, HEADER)"
        ).fetchone() or (0,)
    return int(rows)
