"""The question put to a human when the gates agree, and what an answer is good for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from crossimpact.errors import GateRefused
from dags.runs import log, triggered_by

if TYPE_CHECKING:
    from airflow.sdk import Context

    from crossimpact.release.gates import Row
    from pipelines.comparison import Change, Comparison
    from pipelines.store.settings import Settings

COLUMNS = ("gate", "regime", "value", "limit", "verdict", "note")
NAMED = 6  # pairs named in a cell; the others are counted


@dataclass(frozen=True)
class Reply:
    """A human's answer: what was chosen, by which login, and the reason given.

    No login where a task was merely marked as successful.
    """

    chosen: tuple[str, ...]
    name: str | None
    id: str | None
    reason: str | None

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Reply:
        """What Airflow hands on."""
        who = told.get("responded_by_user") or {}
        reason = (told.get("params_input") or {}).get("reason")
        return cls(tuple(told.get("chosen_options") or ()), who.get("name"), who.get("id"), reason)


@dataclass(frozen=True)
class Standing:
    """The champion (None before the first), and how often it has changed so far."""

    champion: str | None
    changes: int


class SecondLoginApproval(ApprovalOperator):
    """An approval that whoever triggered the run cannot give: he is asked again, as is everybody.

    He may reject. Runs of the clock and of assets were triggered by nobody.
    """

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Take the answer, or park the task anew."""
        user = triggered_by(context["dag_run"])
        if user and approves_own(Reply.from_dict(event), user):
            log.warning("%s", own_approval(user))
            return self.execute(context)
        answered(context["dag_run"].run_id)
        return super().execute_complete(context, event)


def approves_own(reply: Reply, user: str) -> bool:
    """Whether an approval comes from the login that triggered the run."""
    return "Approve" in reply.chosen and user in (reply.name, reply.id)


def own_approval(user: str) -> GateRefused:
    """Why that approval does not count."""
    return GateRefused(
        f"{user} triggered this run and cannot approve it",
        "another login has to answer under Required Actions",
    )


def standing(settings: Settings) -> Standing:
    """What the ledger says of the champion."""
    from crossimpact.release.ledger import CHANGES
    from pipelines.release import ledger_lines

    lines = [line for line in ledger_lines(settings)["ledger"] if line["action"] in CHANGES]
    return Standing(lines[-1]["release"] if lines else None, len(lines))


def want_approval(asked: Mapping[str, Any], run_id: str) -> None:
    """Tell who approves, with the question and every gate; reminder and deputy follow."""
    from datetime import UTC, datetime

    from dags.common import settings
    from pipelines.alerts import outbox
    from pipelines.alerts.outbox import Wanted
    from pipelines.store.manifest import text_sha256

    home, now = settings({}), datetime.now(UTC)
    question = "answer under Required Actions in Airflow"
    key = text_sha256(run_id)
    outbox.want(home, Wanted(key, asked["subject"], asked["body"], question, now))
    outbox.send(home, now)


def answered(run_id: str) -> None:
    """Nobody is reminded of a run's approval any longer."""
    from dags.common import settings
    from pipelines.alerts import outbox
    from pipelines.store.manifest import text_sha256

    outbox.answered(settings({}), text_sha256(run_id))


def settled(champion: str | None, release: str, refused: Sequence[str]) -> str:
    """Why there is nothing to decide; empty when there is."""
    if champion == release:
        return f"it is release {release} already"
    return "; ".join(refused)


def question(
    challenger: Mapping[str, Any],
    rows: Sequence[Row],
    against: Comparison,
    *,
    old: str = "",
    user: str | None = None,
    links: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """`subject` and Markdown `body` of the request: what it is, what it changes, every gate.

    Parameters
    ----------
    challenger
        The refit's summary.
    rows
        What each gate said.
    against
        The challenger beside the champion.
    old
        A sentence when the data are old.
    user
        Whose approval does not count.
    links
        Where MLflow shows the release and its run.
    """
    window = challenger["window"]
    warnings = [old and f"{old[0].upper()}{old[1:]}", user and _second(user)]
    shown = ", ".join(f"[{name} in MLflow]({url})" for name, url in (links or {}).items())
    body = [
        f"Fitted on the {challenger['flow']} flow of {window['dates']} dates, {window['first']} to "
        f"{window['last']}.{' ' if shown else ''}{shown}",
        *(f"\n**{text}.**" for text in warnings if text),
        "\n### What changes\n",
        *_differences(challenger, against),
        "\n### Gates\n",
        *_table(COLUMNS, (tuple(_cells(row)) for row in rows)),
    ]
    return {
        "subject": f"Make release {challenger['release']} champion?",
        "body": "\n".join(body),
    }


def approved(reply: Reply | None) -> bool:
    """Whether a named human approved; a task merely marked as successful has no reply."""
    return bool(reply and reply.chosen == ("Approve",) and reply.name)


def signature(reply: Reply | None, run_id: str) -> tuple[str, str]:
    """Who stands for the promotion, and why: the ledger's words."""
    if not (reply and reply.name):
        return "monthly_refit", f"auto_promote of {run_id}"
    return reply.name, f"approved in {run_id}: {reply.reason or 'no reason given'}"


def _second(name: str) -> str:
    return f"Triggered by {name}, who cannot approve it: another login has to"


def _differences(challenger: Mapping[str, Any], against: Comparison) -> Iterator[str]:
    """The champion and its drift, then a table of the regimes, before and after."""
    if not against.changes:
        regimes = (f"{name} by {row['rung']}" for name, row in challenger["regimes"].items())
        yield f"Nothing to compare with: {against.note}. It would answer {', '.join(regimes)}."
        return
    drift = against.drift or "no week was looked at yet"
    yield f"Champion now: {against.champion}; its drift: {drift}.\n"
    dates = f", {against.dates[0]} to {against.dates[-1]}" if against.dates else ""
    head = (
        "regime", "answers", "pairs gained", "lost", "sign turned", "kept",
        "R2 added out of sample", f"cost of pairs, USD{dates}",
    )  # fmt: skip
    yield from _table(head, (_change(change) for change in against.changes))


def _change(change: Change) -> tuple[str, ...]:
    (had, has), (gain, gains), (usd, usds) = change.rungs, change.gains, change.cross_usd
    return (
        change.regime,
        has if had == has else f"{had} → {has}",
        *(_named(pairs) for pairs in (change.gained, change.lost, change.turned)),
        str(change.kept),
        f"{_share(gain)} → {_share(gains)}",
        f"{_usd(usd)} → {_usd(usds)}",
    )


def _named(pairs: Sequence[str]) -> str:
    more = f" and {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
    return f"{len(pairs)}: {', '.join(pairs[:NAMED])}{more}" if pairs else "0"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2%}"


def _usd(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    from pipelines.pages.markdown import table

    yield from table(head, rows)


def _cells(row: Row) -> Iterator[str]:
    limit = f"{row.direction.replace('_', ' ')} {_text(row.limit)}"
    shown = {**vars(row), "limit": "" if row.verdict == "skipped" else limit}
    for column in COLUMNS:
        yield _text(shown[column]).replace("\n", " ")


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str("" if value is None else value)
