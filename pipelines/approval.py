"""Who stands for a promotion, and how far that is known."""

from __future__ import annotations

from dataclasses import dataclass

from crossimpact.errors import GateRefused, UsageError
from registry.ledger import Identity


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


def same(one: str, other: str) -> bool:
    """Whether two names are one person's, as far as names tell."""
    return one.strip().casefold() == other.strip().casefold()
