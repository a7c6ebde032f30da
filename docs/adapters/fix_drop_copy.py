"""A FIX drop copy as a feed of the live loop: execution reports in, JSON lines out.

    nc drop-copy 9878 | python docs/adapters/fix_drop_copy.py | crossimpact live --output out.jsonl

Needs simplefix. Of ExecType (150): F is a fill, G a correction, H a bust, each with ExecID (17),
the latter two with ExecRefID (19); 0, 4, 6, 8 and C say where the order stands. A parent is found
by its ClOrdID (11) before the first dot: children are named `PARENT.n`. LastLiquidityInd (851) 1
added liquidity.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import simplefix

KINDS = {b"F": "new", b"G": "correct", b"H": "bust"}
STATES = {
    b"0": "working", b"6": "pending_cancel", b"4": "cancelled", b"8": "rejected", b"C": "expired",
}  # fmt: skip


def events(parser: simplefix.FixParser) -> Iterator[dict[str, Any]]:
    """The events of what the parser has been fed."""
    while (message := parser.get_message()) is not None:
        if message.get(35) == b"0":
            yield {"type": "heartbeat", "at": moment(message.get(52))}
        elif message.get(35) == b"8" and (event := execution(message)) is not None:
            yield event


def execution(message: simplefix.FixMessage) -> dict[str, Any] | None:
    """Of an execution report; None where it tells nothing the loop needs."""
    kind, told = message.get(150), text(message, 11).partition(".")[0]
    head = {"at": moment(message.get(60) or message.get(52)), "source": text(message, 49)}
    head |= {"seq": int(message.get(34)), "parent": told}
    sign = 1.0 if message.get(54) in (b"1", b"3") else -1.0
    if kind in KINDS:
        fill = {"type": "fill", "id": text(message, 17), "symbol": text(message, 55)}
        fill |= {"quantity": sign * float(message.get(32)), "price": float(message.get(31))}
        fill |= {"kind": KINDS[kind], "passive": message.get(851) == b"1"}
        return head | fill | ({"ref": text(message, 19)} if kind != b"F" else {})
    if kind in STATES:
        leaves = message.get(151)
        known = None if leaves is None else sign * float(leaves)
        return head | {"type": "order", "status": STATES[kind], "leaves": known}
    return None


def text(message: simplefix.FixMessage, tag: int) -> str:
    return (message.get(tag) or b"").decode("ascii", "replace")


def moment(value: bytes | None) -> str:
    """`20260302-14:30:00.123` as ISO 8601."""
    told = (value or b"").decode("ascii")
    return f"{told[:4]}-{told[4:6]}-{told[6:8]}T{told[9:]}Z"


def main() -> None:
    parser = simplefix.FixParser()
    while content := sys.stdin.buffer.read1(65536):
        parser.append_buffer(content)
        for event in events(parser):
            print(json.dumps(event), flush=True)


if __name__ == "__main__":
    main()
