"""Draws of a date's baskets: a salt committed to before the open, revealed after it is over."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from crossimpact import atomic
from crossimpact.errors import CrossImpactError, UsageError
from crossimpact.model import Array
from crossimpact.release.ledger import utc
from crossimpact.rollout import design, ledger
from crossimpact.rollout.design import DayDraw, commitment
from crossimpact.rollout.ledger import Standing, entry
from crossimpact.rollout.stages import RolloutPlan
from pipelines.rollout import baskets, in_force, plan_file
from pipelines.rollout.gathering import BEFORE
from pipelines.rollout.places import Places
from pipelines.store.settings import Settings

#: So many random bytes.
Entropy = Callable[[int], bytes]


@dataclass(frozen=True)
class Committed:
    """What is fixed of a date before its open."""

    date: str
    commitment: str
    chances: tuple[float, ...]
    cuts_usd: tuple[float, ...]
    share: float
    when: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def commit(
    settings: Settings,
    date: str,
    *,
    who: str,
    now: datetime,
    entropy: Entropy = secrets.token_bytes,
) -> Committed:
    """Fix a date's draw: a salt that nobody else knows, its hash and the chances on record.

    A salt that was written and not committed to (a killed process) is used; one that is committed
    to is never replaced.

    Raises
    ------
    UsageError
        When the stage draws nothing, or the date has begun elsewhere and is over.
    CrossImpactError
        When the date has a commitment.
    """
    plan, places = plan_file.load(settings.home), Places(settings.home)
    standing = in_force.running(settings)
    if not in_force.stage(plan, standing).draws:
        raise UsageError(f"stage {standing.stage} draws no basket", "go a stage up first")
    if date < utc(now).date().isoformat():
        raise UsageError(f"{date} is over", "a salt is committed to before the open")
    if known := standing.draws.get(date):
        return _committed(known)
    salt = _salt(places, date, entropy)
    draw = _draw(settings, plan, standing, date, commitment(date, salt))
    with ledger.locked(places.ledger) as held:
        line = entry("commit", when=now, who=who, stage=standing.stage, release=standing.release,
                     date=date, draw=draw)  # fmt: skip
        return _committed(held.append(line))


def reveal(places: Places, standing: Standing, who: str, now: datetime) -> str:
    """Tell the salts of dates that are over, and forget them; what is wrong with one of them."""
    today, broken = utc(now).date().isoformat(), ""
    for date in sorted(day for day in standing.draws if day < today):
        path = places.salt(date)
        with ledger.locked(places.ledger) as held:
            if date in ledger.revealed(held.entries):
                path.unlink(missing_ok=True)
                continue
            if not path.exists():
                continue  # a missing day
            salt = path.read_bytes().hex()
            told = entry("reveal", when=now, who=who, stage=standing.stage,
                         release=standing.release, date=date, salt=salt)  # fmt: skip
            try:
                held.append(told)
                path.unlink()
            except CrossImpactError as error:
                broken = error.what
    return broken


def draws(settings: Settings) -> bool:
    """Whether the stage in force draws baskets."""
    standing = in_force.standing(settings)
    return standing is not None and in_force.stage(plan_file.load(settings.home), standing).draws


def _salt(places: Places, date: str, entropy: Entropy) -> bytes:
    """The date's salt, made once."""
    path = places.salt(date)
    with suppress(FileExistsError):
        atomic.create(path, entropy(design.SALT_BYTES))
        path.chmod(0o600)
    return path.read_bytes()


def _draw(
    settings: Settings, plan: RolloutPlan, standing: Standing, date: str, hashed: str
) -> DayDraw:
    """Chances of a date: the share, less what earlier dates of the stage gave beyond it."""
    earlier = [line.draw for line in standing.draws.values() if line.draw]
    strata = plan.design.strata
    known = baskets.before(settings, min(standing.draws, default=date), BEFORE)
    cuts = earlier[0].cuts_usd if earlier else design.cuts(known.notional_usd.tolist(), strata)
    stratum = np.searchsorted(cuts, known.notional_usd, side="left")
    usual = np.bincount(stratum, known.notional_usd, strata) / max(1, len(known.days))
    excess = _excess(settings, standing, strata, plan.design.share)
    chances = design.chances(excess, usual, plan.design.share)
    return DayDraw(date, plan.design, hashed, tuple(cuts), tuple(chances.tolist()),
                   tuple(usual.tolist()))  # fmt: skip


def _excess(settings: Settings, standing: Standing, strata: int, share: float) -> Array:
    """Notional beyond its share that the stage's earlier dates gave the policy, by stratum."""
    places = Places(settings.home)
    kept = {d: places.salt(d).read_bytes() for d in standing.draws if places.salt(d).exists()}
    salts = kept | ledger.revealed(ledger.entries(places.ledger))
    found = baskets.drawn(settings, standing.draws, salts, {})
    of = found.outcomes
    excess = np.bincount(found.stratum, (of.treated - share) * of.notional_usd, strata)
    return np.asarray(excess, dtype=float)


def _committed(line: ledger.Entry) -> Committed:
    draw = line.draw
    if draw is None:
        raise UsageError(f"the commitment of {line.date} fixes nothing", "verify the ledger")
    return Committed(draw.date, draw.commitment, draw.chances, draw.cuts_usd, draw.design.share,
                     line.when)  # fmt: skip
