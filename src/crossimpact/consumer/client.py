"""What a live scheduler embeds: the champion, pulled within a deadline, or a named stand-in.

`Client.pull` runs beside the orders and moves one reference; `Client.served` and `Client.answer`
read it and wait for nothing. In order of preference they give

    live              the ledger's champion, confirmed by the last pull
    last_known_good   a release that verified, since the last pull failed; for `max_age` at most
    fallback          a fixed share of the market's volume

The ledger decides which release is champion and what its digest is. The registry only delivers the
bytes; where its alias disagrees, that is noted. No code from the registry runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Lock, Thread

from crossimpact.consumer import source
from crossimpact.consumer.cache import CachedRelease, ReleaseCache, Seen
from crossimpact.consumer.deadline import Worker
from crossimpact.consumer.source import Source
from crossimpact.consumer.state import Served, State, expired
from crossimpact.errors import ModelError, StaleModel, Unavailable
from crossimpact.release import admissible, ledger, release_files
from crossimpact.release.bundle import Answer
from crossimpact.release.ledger import Entry, LiveChampion
from crossimpact.release.policy import DEFAULT

LOG = logging.getLogger("crossimpact.client")
#: A reason is cut there; a server may answer with anything.
MAX_REASON = 1000
ALIAS = "champion"
#: Shares of the deadline after which a single request, and the whole registry, is given up on:
#: in time to say why, and to write down what the ledger said.
REQUEST, REGISTRY = 0.8, 0.9


class Client:
    """The champion, for a process that goes on whatever happens to the registry.

    Parameters
    ----------
    uri
        MLflow's address, or `sqlite:///<file>`. A server's user and password come from
        `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`.
    ledger
        The ledger's file.
    cache
        Folder of this client alone, for the last known good releases.
    clock
        Gives the time, UTC.
    deadline_s
        Longest a pull takes, seconds.
    max_age
        How long a release may answer after a pull last confirmed it; a confirmation that lies in
        the future counts as none.
    valid_for
        How long after its `as_of` a release may answer at all.
    fixed_pov
        Share of the market's volume to trade at when no release is there to say another.
    on_fallback
        Called with the new `Served`, in a thread of its own, whenever a pull ends in another state
        than `live` that is new: to write the ledger's line, say.
    """

    def __init__(
        self,
        uri: str,
        ledger: Path,
        cache: Path,
        *,
        clock: Callable[[], datetime],
        deadline_s: float = 2.0,
        max_age: timedelta = DEFAULT.release.max_age,
        valid_for: timedelta = DEFAULT.release.valid_for,
        fixed_pov: float = DEFAULT.release.fixed_pov,
        on_fallback: Callable[[Served], object] | None = None,
    ) -> None:
        self._uri, self._ledger, self._cache, self._clock = uri, ledger, ReleaseCache(cache), clock
        self._deadline_s, self._max_age, self._valid_for = deadline_s, max_age, valid_for
        self._on_fallback, self._fixed_pov = on_fallback, fixed_pov
        self._disk, self._registry = Worker("the disk"), Worker("the registry")
        self._pulling, self._swapping = Lock(), Lock()
        self._seen, self._pulled = Seen(), False
        self._served = self._start()
        LOG.info("%s", self._served, extra={"release": self._served.digest})

    @property
    def served(self) -> Served:
        """What answers now; a release that has become too old does not."""
        present = self._served
        if present.good and present.release and (spent := self._spent(present.good)):
            new = replace(present, state="fallback", reason=spent, since=self._now())
            self._swap(new, instead_of=present)
        return self._served

    def answer(self, regime: str) -> Answer:
        """Who answers for a regime now."""
        return self.served.answer(regime)

    def pull(self) -> Served:
        """Ask ledger and registry for the champion; returns within the deadline, never raises.

        While another thread pulls, what is served already is returned at once.
        """
        if self._pulling.acquire(blocking=False):
            try:
                self._swap(self._pull(time.monotonic()))
            finally:
                self._pulling.release()
        return self.served

    # -- asking --------------------------------------------------------------------------------

    def _start(self) -> Served:
        """What the last process left, as far as the ledger still allows it."""
        good, reason = None, "the registry is not asked yet"
        until = time.monotonic() + self._deadline_s
        try:
            good, self._seen = self._disk.run(self._cache.load_last, until)
            _, good = self._disk.run(partial(self._consult, good), until)
        except Exception as error:
            reason += f"; {_line(error)}"
        return self._made("last_known_good", good, reason)

    def _pull(self, start: float) -> Served:
        good, until = self._served.good, start + self._deadline_s
        state: State = "last_known_good"
        registry: Source | None = None
        try:
            registry = source.connect(self._uri, REQUEST * self._deadline_s)
            champion, good = self._disk.run(partial(self._consult, good), until)
            load = partial(self._load, registry, champion, good)
            good, files, reason = self._registry.run(load, start + REGISTRY * self._deadline_s)
        except Exception as error:  # whatever it is, orders go on
            reason, files = _line(error), None
        else:
            state = "live"
        finally:
            if registry is not None:
                registry.hang_up()
        if good is not None and good is not self._served.good:
            try:
                self._disk.run(partial(self._cache.save, good, self._seen, files), until)
            except Exception as error:
                reason += f"; not kept on disk: {_line(error)}"
        return self._made(state, good, reason)

    def _consult(
        self, good: CachedRelease | None
    ) -> tuple[LiveChampion | None, CachedRelease | None]:
        """The ledger's champion, and the release at hand that answers until it is loaded."""
        book = ledger.entries(self._ledger)
        self._continue(book)
        champion = ledger.standing(book)
        if champion is None:
            return None, good
        if good and (ledger.withdrawn(book, good.digest) or not ledger.knows(book, good.digest)):
            good = None
            self._cache.clear()
        return champion, self._at_hand(champion, good)

    def _continue(self, book: Sequence[Entry]) -> None:
        """A ledger may grow; what was seen of it once stays."""
        seen = self._seen
        if seen.lines and seen != Seen.of(book[: seen.lines]):
            raise StaleModel(f"{self._ledger} was rewritten: line {seen.lines} is gone or another")
        self._seen = Seen.of(book)

    def _at_hand(self, champion: LiveChampion, good: CachedRelease | None) -> CachedRelease | None:
        """The champion if it is here, held to what the ledger says; else what there is."""
        if good is None or good.digest != champion.digest:
            try:
                release = self._cache.load(champion.digest)
            except (StaleModel, ModelError):
                return good
            good = CachedRelease(
                release, champion.digest, champion.version, champion.champion.moment
            )
        return good.under(champion)

    def _load(
        self, registry: Source, champion: LiveChampion | None, good: CachedRelease | None
    ) -> tuple[CachedRelease, Mapping[str, bytes] | None, str]:
        """The verified champion, its files if they are new, and what there is to say."""
        if champion is None:
            raise nothing_promoted(self._ledger, registry)
        pointed, files = registry.alias(ALIAS), None
        reason = f"champion since {champion.champion.when}"
        if pointed != champion.version:
            points = f"points at version {pointed}" if pointed else "is missing"
            reason += f"; alias {ALIAS} {points}, the ledger's version {champion.version} counts"
        if good is None or good.digest != champion.digest:
            files = registry.files(champion.version)
            release = release_files.verified(files, champion.digest, f"version {champion.version}")
            admissible.check(release)
            good = CachedRelease(release, champion.digest, champion.version, self._now()).under(
                champion
            )
        return replace(good, version=champion.version, confirmed_at=self._now()), files, reason

    # -- serving -------------------------------------------------------------------------------

    def _made(self, state: State, good: CachedRelease | None, reason: str) -> Served:
        """`good` in that state, or the fallback when it cannot answer."""
        spent = self._spent(good) if good else ""
        if good is None or spent:
            state, reason = "fallback", "; ".join(filter(None, (spent, reason)))
        return Served(state, reason, self._now(), good, self._fixed_pov)

    def _spent(self, good: CachedRelease) -> str:
        """Why a release is too old to answer; empty when it is not."""
        now = self._now()
        if why := expired(good.release, now, self._valid_for):
            return why
        confirmed = good.confirmed_at.isoformat()
        if good.confirmed_at > now + ledger.SKEW:  # a clock was fast: nobody knows when that was
            return f"release {good.id} was last confirmed in the future, at {confirmed}"
        if now - good.confirmed_at > self._max_age:
            return f"release {good.id} was last confirmed at {confirmed}"
        return ""

    def _swap(self, new: Served, instead_of: Served | None = None) -> None:
        """Serve `new` from now on; a change is logged once."""
        with self._swapping:
            old = self._served
            if instead_of is not None and old is not instead_of:
                return
            changed = new.who != old.who or not self._pulled
            self._served = new if changed else replace(new, since=old.since)
            self._pulled = self._pulled or instead_of is None
        if changed:
            level = logging.INFO if new.state == "live" else logging.WARNING
            LOG.log(level, "%s", new, extra={"release": new.digest})
            if new.state != "live" and self._on_fallback:
                Thread(target=self._on_fallback, args=(new,), name="on_fallback").start()

    def _now(self) -> datetime:
        return ledger.utc(self._clock())


class NothingPromoted(StaleModel):
    """A ledger without a champion; `lost` when MLflow's alias says that it had one."""

    def __init__(self, book: Path, pointed: int | None, why_unknown: str = "") -> None:
        self.lost = pointed is not None
        if self.lost:
            super().__init__(
                f"ledger {book} knows no champion, and MLflow's alias {ALIAS} points at version "
                f"{pointed}: the ledger and its .head are gone, or this is another home's registry",
                f"restore both from a copy; to begin anew, delete the alias {ALIAS} in MLflow",
            )
        else:
            asked = f" (MLflow cannot say whether one was: {why_unknown})" if why_unknown else ""
            super().__init__(
                f"no release is promoted in {book}{asked}", "run `crossimpact promote`"
            )


def nothing_promoted(book: Path, registry: Source) -> NothingPromoted:
    """What to say of a ledger without a champion: MLflow's alias tells whether it had one."""
    try:
        return NothingPromoted(book, registry.alias(ALIAS))
    except Unavailable as error:
        return NothingPromoted(book, None, error.what)


def _line(error: Exception) -> str:
    """What went wrong on one line of log; a server's nonsense in it moves no terminal."""
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)[:MAX_REASON]
