"""The champion, asked for beside the loop: who is served, and how long ago that was confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from crossimpact.consumer.client import Client
from crossimpact.consumer.state import Served
from crossimpact.progress import tell
from crossimpact.release.bundle import Release

#: An age that no level allows, where nothing was ever confirmed.
NEVER_DAYS = 1e6


class Pulls:
    """What the registry has said last.

    Parameters
    ----------
    resolve
        Makes a served release findable by its digest.
    changed
        Is told of another release, or another word on it.
    failed
        Counts pulls that confirmed nothing.
    """

    def __init__(
        self,
        resolve: Callable[[Release], None],
        changed: Callable[[Served], None],
        failed: Callable[[], None],
    ) -> None:
        self._resolve, self._changed, self._failed = resolve, changed, failed
        self._served: Served | None = None

    async def forever(self, client: Client, every_s: float) -> None:
        """Pull; what answers goes on answering where that fails, and grows old."""
        while True:
            try:
                served = await asyncio.to_thread(client.pull)
                if served.state != "live":
                    self._failed()
                self.take(served)
            except Exception as error:
                self._failed()
                tell("live", f"a pull failed: {type(error).__name__}: {error}")
            await asyncio.sleep(every_s)

    def take(self, served: Served) -> None:
        """Who is served now."""
        before, self._served = self._served, served
        if before is not None and served.who == before.who:
            return
        if served.release is not None:
            self._resolve(served.release)
        self._changed(served)

    def age_days(self, now: datetime) -> float:
        """Days since the release was last confirmed."""
        confirmed = self._served.confirmed_at if self._served else None
        if confirmed is None:
            return NEVER_DAYS
        return max(0.0, (now - confirmed) / timedelta(days=1))
