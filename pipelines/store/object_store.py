"""Partitions in an S3-compatible object store: `$CROSSIMPACT_WAREHOUSE=s3://bucket/prefix`.

A put is whole or nothing, and a pointer is put only where it is as it was seen (`If-Match`,
`If-None-Match`), so of two writers one wins and the other is told. Single objects are read by their
key, never found by listing, so a store that lists late hides the newest dates from those who ask
for all dates and from nobody else. Data files are staged under the home, by their digest, for
DuckDB to read: the same queries, the same bytes. Address and credentials come from the environment
(`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, ...), and no message holds them.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crossimpact import atomic
from crossimpact.errors import CrossImpactError, Unavailable, UsageError
from pipelines.store.files import DataFile, Version
from pipelines.store.manifest import MANIFEST
from pipelines.store.settings import WAREHOUSE

#: In a store: names the home that a prefix belongs to.
OWNER = "_owner.json"
#: Requests that fail with 5xx or in the network are sent again, for so long in all.
RETRY_S, RETRIES = 60, 10
BUSY = "it is sent again by the next try; check the store"


def open_store(url: str) -> Any:
    """The store at `s3://bucket/prefix`.

    Raises
    ------
    UsageError
        When the address is no such address, or holds credentials.
    CrossImpactError
        When the client is not installed.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise UsageError(
            "CROSSIMPACT_WAREHOUSE is no address of a bucket", "write it like s3://bucket/prefix"
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            "CROSSIMPACT_WAREHOUSE holds more than bucket and prefix; addresses end up in logs",
            "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise CrossImpactError(
            f"a warehouse at {url} needs obstore, which is not installed",
            "pip install 'crossimpact[s3]'",
        ) from error
    return _client(S3Store, url, os.getpid())


@cache
def _client(kind: Any, url: str, process: int) -> Any:
    """Once per process: its connections do not survive a fork."""
    patience = timedelta(seconds=RETRY_S)
    return kind.from_url(url, retry_config={"max_retries": RETRIES, "retry_timeout": patience})


@dataclass(frozen=True)
class ObjectFiles:
    """A prefix of an object store; `root` holds staged copies of data files."""

    store: Any
    url: str
    root: Path

    def read(self, key: str) -> bytes | None:
        found = self._get(key)
        return None if found is None else bytes(found.bytes())

    def version(self, key: str) -> Version:
        import obstore

        with suppress(FileNotFoundError), self._told(key):
            found = obstore.head(self.store, key)
            return {k: v for k in ("e_tag", "version") if (v := found.get(k))}
        return None

    def replace(self, key: str, content: bytes, seen: Version) -> None:
        """As `Files.replace`.

        Raises
        ------
        Unavailable
            When another writer was faster, and with other content.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            with self._told(key):
                obstore.put(self.store, key, content, mode=seen or "create")
        except (AlreadyExistsError, PreconditionError) as error:
            if self.read(key) != content:  # a try whose answer got lost was ours
                raise Unavailable(
                    f"{self._at(key)}: another writer was faster, its content stands",
                    "run the step again",
                ) from error

    def put(self, key: str, draft: Path) -> None:
        """Upload, then keep the draft as the staged copy."""
        import obstore

        with self._told(key):
            obstore.put(self.store, key, draft)
        atomic.move(draft, self.root / key)

    def local(self, key: str) -> Path:
        path = self.root / key
        if not path.exists() and (found := self._get(key)) is not None:
            with atomic.replacing(path) as draft, draft.open("wb") as stream, self._told(key):
                for chunk in found.stream():
                    stream.write(chunk)
        return path

    def remove(self, key: str) -> None:
        import obstore

        with suppress(FileNotFoundError), self._told(key):
            obstore.delete(self.store, key)
        (self.root / key).unlink(missing_ok=True)

    def dates(self, prefix: str) -> list[str]:
        """Dates whose folder is listed and holds a manifest."""
        keys = (found.key for found in self._listed(prefix))
        places = (key.rsplit("/", 2)[-2:] for key in keys if key.count("/"))
        return [folder.removeprefix("date=") for folder, name in places if name == MANIFEST]

    def layers(self) -> list[str]:
        import obstore

        with self._told(""):
            return list(obstore.list_with_delimiter(self.store)["common_prefixes"])

    def pointers(self) -> Iterator[bytes]:
        for found in self._listed():
            if found.key.endswith(".json") and (content := self.read(found.key)) is not None:
                yield content

    def data(self) -> Iterator[DataFile]:
        yield from (found for found in self._listed() if found.key.endswith(".parquet"))

    def _listed(self, prefix: str = "") -> list[DataFile]:
        import obstore

        with self._told(prefix):
            objects = [o for page in obstore.list(self.store, prefix or None) for o in page]
        return [DataFile(o["path"], o["size"]) for o in objects]

    def written(self, key: str) -> float:
        import obstore

        with self._told(key):
            moment: datetime = obstore.head(self.store, key)["last_modified"]
        return moment.timestamp()

    def claim(self, home: str) -> None:
        """Make the prefix this home's.

        Raises
        ------
        UsageError
            When it is another home's.
        """
        content = json.dumps({"home": home}).encode()
        with suppress(Unavailable):
            self.replace(OWNER, content, None)
        if self.read(OWNER) != content:
            raise UsageError(
                f"{self.url} holds the warehouse of another home",
                "give this home a prefix of its own in CROSSIMPACT_WAREHOUSE",
            )

    def _get(self, key: str) -> Any:
        import obstore

        with suppress(FileNotFoundError), self._told(key):
            return obstore.get(self.store, key)
        return None

    def _at(self, key: str) -> str:
        return f"{self.url.rstrip('/')}/{key}"

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """What the store refuses, as an error that names the place."""
        from obstore import exceptions as told

        try:
            yield
        except (told.PermissionDeniedError, told.UnauthenticatedError) as error:
            raise self._denied(key) from error
        except (told.GenericError, told.JoinError) as error:
            if (why := _why(error)).startswith(("401", "403")):
                raise self._denied(key) from error
            what = f"{self._at(key)}: the store does not answer ({why})"
            raise Unavailable(what, BUSY) from error

    def _denied(self, key: str) -> CrossImpactError:
        return CrossImpactError(
            f"{self._at(key)}: access denied", "grant this login to read and write that prefix"
        )


def _why(error: Exception) -> str:
    """The status or the failure, without headers or a body."""
    text = str(error).split("\n")[0]
    return text.partition("status code: ")[2][:40].split(":")[0] or "no connection"


def opened(url: str, home: Path) -> ObjectFiles:
    """The warehouse of a home at `url`, which is its own from now on.

    A home says in `warehouse.json` where its partitions lie and who it is, so that a forgotten
    variable finds them and another home does not take them for its own.

    Raises
    ------
    UsageError
        When the home's partitions lie elsewhere, or another home's lie there.
    """
    record = home / WAREHOUSE
    told = json.loads(record.read_text()) if record.exists() else {}
    if told.get("url", url) != url:
        raise UsageError(
            f"the warehouse of home {home} is at {told['url']}, not at {url}",
            f"copy the objects there, then change {record}",
        )
    files = ObjectFiles(open_store(url), url, home / "warehouse")
    if not told:
        told = {"url": url, "id": uuid.uuid4().hex}
        files.claim(told["id"])
        atomic.write_atomic(record, json.dumps(told))
    return files
