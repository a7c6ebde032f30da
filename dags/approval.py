"""The question put to a human when the gates agree, and what an answer is good for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.config import Settings

#: Lines of the ledger that name a champion.
CHANGES = ("promote", "override", "rollback")
COLUMNS = ("gate", "regime", "value", "limit", "verdict", "note")


def standing(settings: Settings) -> dict[str, Any]:
    """The `champion` (None before the first), and how often it has changed so far: `changes`."""
    from pipelines.release import ledger_lines

    lines = [line for line in ledger_lines(settings)["ledger"] if line["action"] in CHANGES]
    return {"champion": lines[-1]["release"] if lines else None, "changes": len(lines)}


def settled(asked: Mapping[str, Any]) -> str:
    """Why there is nothing to decide; empty when there is."""
    if asked["champion"] == asked["release"]:
        return f"it is release {asked['release']} already"
    return "; ".join(asked["refused"])


def question(
    challenger: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], champion: str | None
) -> dict[str, str]:
    """`subject` and Markdown `body` of the request: what it is, who answers where, every gate."""
    window = challenger["window"]
    regimes = (f"{name} by {facts['rung']}" for name, facts in challenger["regimes"].items())
    body = [
        f"Fitted on the {challenger['flow']} flow of {window['dates']} dates, {window['first']} to "
        f"{window['last']}. Answered: {', '.join(regimes)}. Champion now: {champion or 'none'}.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{' --- |' * len(COLUMNS)}",
        *(f"| {' | '.join(_cells(row))} |" for row in rows),
    ]
    return {
        "subject": f"Make release {challenger['release']} champion?",
        "body": "\n".join(body),
    }


def approved(reply: Mapping[str, Any] | None) -> bool:
    """Whether a named human approved; a task merely marked as successful has no reply."""
    return bool(reply and reply["chosen_options"] == ["Approve"] and reply["responded_by_user"])


def signature(reply: Mapping[str, Any] | None, run_id: str) -> tuple[str, str]:
    """Who stands for the promotion, and why: the ledger's words."""
    if not reply:
        return "monthly_refit", f"auto_promote of {run_id}"
    said = (reply["params_input"] or {}).get("reason") or "no reason given"
    return reply["responded_by_user"]["name"], f"approved in {run_id}: {said}"


def _cells(row: Mapping[str, Any]) -> Iterator[str]:
    limit = f"{row['direction'].replace('_', ' ')} {_text(row['limit'])}"
    shown = {**row, "limit": "" if row["verdict"] == "skipped" else limit}
    for column in COLUMNS:
        yield _text(shown[column]).replace("|", "\\|").replace("\n", " ")


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str("" if value is None else value)
