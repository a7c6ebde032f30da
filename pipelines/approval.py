"""Who stands for a promotion, and how far that is known.

Where MLflow is a server that asks for logins, who overrides the gates is the login in use, and the
approver proves his by its password: one request, after which nobody has it any longer. Elsewhere
both are names, and the ledger says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from crossimpact.consumer import source
from crossimpact.consumer.address import USER
from crossimpact.consumer.version import Version
from crossimpact.errors import GateRefused, UsageError
from crossimpact.release.ledger import Identity

#: Tag of who triggered the DAG run that made a version.
TRIGGERED_BY = "airflow.triggered_by"


@dataclass(frozen=True)
class Signature:
    """Who promotes, why, and who approves; `identity` says whether these are names or logins."""

    who: str
    reason: str
    approver: str
    identity: Identity

    def check(self) -> None:
        """What an override of the gates asks for.

        Raises
        ------
        UsageError
            Without a reason or an approver.
        GateRefused
            When who promotes approves.
        """
        if not self.reason.strip() or not self.approver.strip():
            raise UsageError(
                "an override needs a reason and an approver", "add --reason R --approver A"
            )
        if same(self.approver, self.who):
            raise GateRefused(
                f"{self.who} cannot approve their own override", "ask a second person to approve"
            )

    def refuse_author(self, uri: str, version: Version) -> None:
        """Whoever made a release cannot approve it; mere names are not held to that.

        Raises
        ------
        GateRefused
            When the approver's login registered the version, or triggered the run that did.
        """
        if self.identity != "login":
            return
        author = source.ask(uri, lambda registry: registry.author(version.run_id))
        for did, login in (
            ("registered", author), ("triggered the refit of", version.tags.get(TRIGGERED_BY, "")),
        ):  # fmt: skip
            if login and same(self.approver, login):
                raise GateRefused(
                    f"{login} {did} release {version.id} and cannot approve it",
                    "ask somebody else to approve",
                )


def by_login(uri: str, signed: Signature, password: Callable[[], str]) -> Signature:
    """An override's signature by logins, where MLflow asks for them; else as it was.

    Parameters
    ----------
    uri
        MLflow's store.
    password
        Asked for the approver's password, only where it is needed; it is sent once and not kept.

    Raises
    ------
    UsageError, GateRefused
        As `Signature.check`, before anybody is asked for a password.
    GateRefused
        When MLflow does not know the approver by that password.
    """
    signed.check()
    if source.ask(uri, lambda registry: registry.login("", "")) is None:
        return signed
    logins = Signature(os.environ.get(USER, ""), signed.reason, signed.approver, "login")
    logins.check()
    secret = password()
    if source.ask(uri, lambda registry: registry.login(signed.approver, secret)) != signed.approver:
        raise GateRefused(
            f"MLflow at {uri} does not know approver {signed.approver}, or by another password",
            "give the approver's own login of that server",
        )
    return logins


def same(one: str, other: str) -> bool:
    """Whether two names are one person's, as far as names tell."""
    return one.strip().casefold() == other.strip().casefold()
