"""What a finished demo left on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from crossimpact.kernel.decay import Decay

if TYPE_CHECKING:
    from crossimpact.model import ImpactModel
    from crossimpact.release.content import Window
    from crossimpact.release.gates import Row
    from crossimpact.shadow.summary import PolicyLine
    from pipelines.live.recap import Recap
    from pipelines.release import RegimeAnswer
    from pipelines.store.landing import Landing
    from pipelines.store.settings import Settings
    from pipelines.store.warehouse import Warehouse

#: A planted pair is strong when its coupling is at least this share of its regime's strongest.
STRONG = 0.5
#: Rows of the printed split: timing is shown with what is known of it.
SPLIT = {
    "self": "self",
    "cross": "cross",
    "timing": "timing",
    "peers": "  of it others' flow",
    "market": "  of it the market",
    "residual": "  of it unexplained",
    "delay": "delay",
    "fees_spread": "fees and spread",
    "opportunity": "opportunity",
    "total": "total",
}


@dataclass(frozen=True)
class Edge:
    """A planted coupling; `scaled_bps` is M_ij."""

    symbol_i: str
    symbol_j: str
    scaled_bps: float


@dataclass(frozen=True)
class Truth:
    """What a demo desk was made with: its spec as plain data, its dates, couplings by regime, and
    how impact decays."""

    spec: Mapping[str, object]
    dates: tuple[str, ...]
    planted: Mapping[str, tuple[Edge, ...]]
    kernel: Decay


@dataclass(frozen=True)
class Lived:
    """How long impact lives: half-life in minutes, inf when it stays, and the share that stays, as
    planted and as found, each with its interval; None where no kernel ships or none is known."""

    half_life_min: float
    permanent: float
    found_half_life_min: float | None
    half_life_lo: float | None
    half_life_hi: float | None
    found_permanent: float | None
    permanent_lo: float | None
    permanent_hi: float | None


@dataclass(frozen=True)
class Recovery:
    """Numbers of pairs: planted, the strong ones among them, and of either those found."""

    planted: int
    strong: int
    strong_found: int
    found: int
    found_true: int


@dataclass(frozen=True)
class Shortfall:
    """Exact sums over `dates` by part (and `notional`), USD as text so that nothing is rounded."""

    dates: list[str]
    usd: Mapping[str, str]


@dataclass(frozen=True)
class Champion:
    """Which release answers."""

    id: str
    digest: str
    version: int


@dataclass(frozen=True)
class Live:
    """The live session: what it was, and why its journal is not to be trusted, else empty."""

    recap: Recap
    problem: str


@dataclass(frozen=True)
class Summary:
    """A finished demo. `drift` are the rows of its mart; `pull` is a live scheduler's answer;
    `shadow` the evidence of the last date, a row per policy; `stages` in seconds."""

    tables: Mapping[str, Mapping[str, int]]
    regimes: Mapping[str, RegimeAnswer]
    edges: Mapping[str, Recovery]
    decay: Mapping[str, Lived]
    champion: Champion
    window: Window
    gates: tuple[Row, ...]
    shortfall: Shortfall
    drift: Sequence[Mapping[str, object]]
    reports: list[str]
    pull: Mapping[str, Any]
    live: Live
    shadow: Sequence[PolicyLine]
    stages: Mapping[str, float] = field(default_factory=dict)
    peak_mb: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as printed with `--json`."""
        return {
            **vars(self),
            "regimes": {name: asdict(row) for name, row in self.regimes.items()},
            "edges": {name: asdict(pairs) for name, pairs in self.edges.items()},
            "decay": {name: _plain(row) for name, row in self.decay.items()},
            "champion": asdict(self.champion),
            "window": self.window.to_dict(),
            "gates": [row.to_dict() for row in self.gates],
            "live": self.live.recap.to_dict() | {"problem": self.live.problem},
            "shadow": [asdict(line) for line in self.shadow],
            "shortfall": {"dates": self.shortfall.dates, **self.shortfall.usd},
        }


def collect(
    settings: Settings,
    landing: Landing,
    truth: Truth,
    session: Path,
    clock: Callable[[], datetime],
) -> Summary:
    """What the run left in its home; what it took is not known here."""
    from pipelines import consume, promotion, release

    champion, facts = release.champion(settings)
    return Summary(
        tables=accounting(settings, landing),
        regimes={row.regime: row for row in release.show(settings).regimes},
        edges={
            regime: recovery(champion.model_for(regime)[0], planted)
            for regime, planted in truth.planted.items()
        },
        decay={
            regime: lived(truth.kernel, champion.model_for(regime)[0]) for regime in truth.planted
        },
        champion=Champion(champion.id, champion.digest, facts.version),
        window=champion.window,
        gates=promotion.check(settings, champion.id, now=clock()).gates,
        shortfall=shortfall(settings, landing.all_dates()),
        drift=drift(settings),
        reports=sorted(str(path) for path in settings.reports.rglob("*.html")),
        pull=consume.pull(settings, who="demo", clock=clock),
        live=live(session),
        shadow=shadow(settings, landing.all_dates()),
    )


def shadow(settings: Settings, landed: Sequence[str]) -> list[PolicyLine]:
    """The evidence of the last date that was in the shadow; empty where none was."""
    from crossimpact.shadow.summary import lines
    from pipelines.shadow import published

    return lines(published(settings, landed))


def live(session: Path) -> Live:
    """A session by its journal, which is verified."""
    from pipelines.live import journal, recap

    return Live(recap.of(session), journal.verify(session).problem)


def accounting(settings: Settings, landing: Landing) -> dict[str, dict[str, int]]:
    """Per table: rows in the landed files, accepted rows, quarantined rows."""
    from pipelines.store.warehouse import Warehouse

    warehouse, counts = Warehouse(settings), {}
    for table in landing.tables():
        dates = landing.dates(table)
        files = [file for date in dates for file in landing.files(table, date)]
        counts[table] = {"landed": sum(pq.ParquetFile(file).metadata.num_rows for file in files)}
        for layer, name in (("accepted", "accepted"), ("quarantine", "quarantined")):
            manifests = (warehouse.manifest(layer, table, date) for date in dates)
            counts[table][name] = sum(manifest.rows for manifest in manifests if manifest)
    return counts


def unbalanced(tables: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Tables whose rows in are not accepted plus quarantined."""
    return [
        name
        for name, rows in tables.items()
        if rows["landed"] != rows["accepted"] + rows["quarantined"]
    ]


def recovery(model: ImpactModel | None, planted: Sequence[Edge]) -> Recovery:
    """Pairs of the model against the planted ones; a pair is true when its sign is right, too."""
    sign = {pair(edge.symbol_i, edge.symbol_j): np.sign(edge.scaled_bps) for edge in planted}
    strongest = max((abs(edge.scaled_bps) for edge in planted), default=0.0)
    strong = {
        pair(edge.symbol_i, edge.symbol_j)
        for edge in planted
        if abs(edge.scaled_bps) >= STRONG * strongest
    }
    result = (
        {
            pair(model.symbols[i], model.symbols[j]): np.sign(model.gamma[i, j])
            for i, j in np.argwhere(np.triu(model.gamma, 1))
        }
        if model
        else {}
    )
    true = {edge for edge, found_sign in result.items() if sign.get(edge) == found_sign}
    return Recovery(
        planted=len(sign),
        strong=len(strong),
        strong_found=len(strong & true),
        found=len(result),
        found_true=len(true),
    )


def lived(planted: Decay, model: ImpactModel | None) -> Lived:
    """The planted decay beside the model's kernel."""
    kernel = model.kernel if model else None
    errors = kernel.errors if kernel else None
    return Lived(
        planted.half_life_min,
        planted.permanent,
        kernel.half_life_min if kernel else None,
        errors.half_life_lo if errors else None,
        errors.half_life_hi if errors else None,
        kernel.permanent if kernel else None,
        errors.permanent_lo if errors else None,
        errors.permanent_hi if errors else None,
    )


def _plain(row: Lived) -> dict[str, float | str | None]:
    """JSON knows no infinity."""
    return {k: str(v) if v == np.inf else v for k, v in vars(row).items()}


def pair(a: str, b: str) -> tuple[str, str]:
    """An unordered pair of symbols."""
    return (a, b) if a < b else (b, a)


def shortfall(settings: Settings, landed: Sequence[str]) -> Shortfall:
    """Exact sums of the landed dates' TCA summaries, USD: notional ordered, shortfall, parts."""
    from pipelines.store.warehouse import Warehouse

    warehouse = Warehouse(settings)
    dates = [date for date in warehouse.dates("marts", "tca_daily") if date in landed]
    rows = [row for row in _published(warehouse, "tca_daily", dates) if row["scope"] == "desk"]
    columns = ("notional", *SPLIT)
    return Shortfall(
        dates, {column: total(row[f"{column}_usd"] for row in rows) for column in columns}
    )


def drift(settings: Settings) -> list[Mapping[str, object]]:
    """The last published drift verdicts, one row per regime."""
    from pipelines.store.warehouse import Warehouse

    warehouse = Warehouse(settings)
    return list(_published(warehouse, "drift", warehouse.dates("marts", "drift")[-1:]))


def _published(
    warehouse: Warehouse, mart: str, dates: Iterable[str]
) -> Iterator[Mapping[str, object]]:
    """Rows of a mart."""
    for date in dates:
        yield from warehouse.rows("marts", mart, date) or ()


def total(amounts: Iterable[object]) -> str:
    """Sum of decimals, as text so that nothing is rounded."""
    return str(sum((Decimal(str(amount)) for amount in amounts), Decimal()))


def read_truth(path: Path) -> Truth:
    """A demo desk's `truth.json`."""
    truth = json.loads(path.read_text())
    names = Edge.__dataclass_fields__
    planted = {
        regime: tuple(Edge(**{name: edge[name] for name in names}) for edge in facts["edges"])
        for regime, facts in truth.get("regimes", {}).items()
    }
    kernel = Decay.from_dict(truth["kernel"]) if "kernel" in truth else Decay((1.0,), (0.0,))
    return Truth(truth["spec"], tuple(truth["spec"]["dates"]), planted, kernel)
