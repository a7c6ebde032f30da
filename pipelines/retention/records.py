"""What a home's records name: digests that must stay readable for as long as the record does.

Records are the ledgers of releases and of audits, the manifests of what is live, promoted releases,
evidence of shadow runs and journals of live sessions. Whatever of them looks like a digest counts
as named, so more than what matters may stay, never less.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from crossimpact.errors import CrossImpactError
from crossimpact.release import ledger
from pipelines.audit.ledger import Ledger
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

#: How much of a digest names a file.
PREFIX = 16
#: Files of text that are records, below the home.
TEXTS = (
    "ledger.jsonl*",
    "releases/*/*.json",
    "shadow/*.json",
    "live/**/*.json*",
    "consumer/**/*.json",
)
_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{16,64}(?![0-9a-f])")


def named(settings: Settings) -> frozenset[str]:
    """First characters (`PREFIX`) of every digest that a record of the home names.

    Raises
    ------
    CrossImpactError
        When a ledger is damaged or a record cannot be read: what it named is not known.
    """
    verdict = ledger.verify(settings.ledger_path)
    if not verdict.usable:
        raise CrossImpactError(
            f"ledger {settings.ledger_path} does not verify: {verdict.problem}",
            "mend it first; nothing was removed",
        )
    live = _found(Warehouse(settings).files_at.pointers())
    return frozenset({*live, *_of_texts(settings.home), *_of_audits(settings)})


def _of_texts(home: Path) -> Iterator[str]:
    for pattern in TEXTS:
        for path in home.glob(pattern):
            with path.open("rb") as lines:
                yield from _found(lines)


def _found(lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        yield from (digest.decode()[:PREFIX] for digest in _DIGEST.findall(line))


def _of_audits(settings: Settings) -> Iterator[str]:
    """Partitions of every entry, superseded ones too: a fill is looked up in all of them."""
    book = Ledger.of(settings)
    for path in (path for date in book.dates() for path in book.files(date)):
        (entry,) = pq.ParquetFile(path).read(["partitions", "manifest", "origin"]).to_pylist()
        yield from (part["sha256"][:PREFIX] for part in entry["partitions"] or ())
        yield from (entry[name][:PREFIX] for name in ("manifest", "origin") if entry[name])
