"""The adapters of the documentation, against recorded messages and a recorded output."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from crossimpact.policy.live import events
from tests.crossimpact.policy.live.desk import opening, quotes, run, session

ADAPTERS = Path(__file__).resolve().parents[1] / "docs" / "adapters"

#: As a drop copy sends them, `|` between fields: new, fill, correction, bust, cancel, heartbeat.
RECORDED = """
35=8|49=BRK|34=1|52=20260302-14:31:00.100|11=p1.1|17=e1|150=0|39=0|55=A|54=1|151=750
35=8|49=BRK|34=2|52=20260302-14:31:01.200|11=p1.1|17=e2|150=F|55=A|54=1|32=100|31=100.02|151=650|851=1
35=8|49=BRK|34=3|52=20260302-14:31:02.000|11=p1.1|17=e3|19=e2|150=G|55=A|54=1|32=80|31=100.02|851=2
35=8|49=BRK|34=4|52=20260302-14:31:03.000|11=p1.1|17=e4|19=e3|150=H|55=A|54=1|32=80|31=100.02
35=8|49=BRK|34=5|52=20260302-14:31:04.000|11=p1.1|17=e5|150=4|39=4|55=A|54=1|151=0
35=8|49=BRK|34=6|52=20260302-14:31:05.000|11=p1.1|17=e6|150=I|39=4|55=A|54=1
35=0|49=BRK|34=7|52=20260302-14:31:30.000
"""


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ADAPTERS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wire(line: str) -> bytes:
    """With its header, length and checksum."""
    body = line.replace("|", "\x01").encode() + b"\x01"
    head = b"8=FIX.4.4\x019=%d\x01" % len(body)
    return head + body + b"10=%03d\x01" % (sum(head + body) % 256)


def test_a_fix_drop_copy_becomes_the_events_of_a_session() -> None:
    simplefix = pytest.importorskip("simplefix")
    module, parser = load("fix_drop_copy"), simplefix.FixParser()
    content = b"".join(wire(line) for line in RECORDED.strip().splitlines())
    told = []
    for k in range(0, len(content), 50):  # as a socket cuts it
        parser.append_buffer(content[k : k + 50])
        told += list(module.events(parser))
    kinds = [(row["type"], row.get("kind", row.get("status"))) for row in told]
    assert kinds == [
        ("order", "working"), ("fill", "new"), ("fill", "correct"), ("fill", "bust"),
        ("order", "cancelled"), ("heartbeat", None),
    ]  # fmt: skip
    assert told[1]["passive"] and not told[2]["passive"]
    made = session()
    run(made, [*opening(), *quotes(59.0)])
    seen = []
    for row in told:
        made.apply(events.read(json.dumps(row).encode()))
        seen.append(made.book.orders["p1"].filled)
    run(made, quotes(95.0))
    assert made.book.orders["p1"].filled == 0.0 and made.book.orders["p1"].outstanding == 0.0
    assert not made.book.unreconciled and made.book.traded_usd == pytest.approx(0.0)


def test_a_strategy_trades_the_difference_once_and_stops_at_a_level(tmp_path: Path) -> None:
    path, sent = tmp_path / "targets.jsonl", []

    def decision(seq: int, target: float, **more: object) -> bytes:
        row = {"parent": "p1", "symbol": "A", "target": target, "style": "passive"}
        told = {"type": "decision", "seq": seq, "mode": "full", "level": "RUN", "targets": [row]}
        return json.dumps(told | more).encode() + b"\n"

    targets = load("target_file").Targets(
        path, lambda *row: sent.append(row), lambda parent: sent.append(("cancel", parent))
    )
    path.write_bytes(decision(1, 100.0) + decision(2, 100.0) + decision(1, 100.0))
    targets.poll()
    assert sent == [("p1", "A", 100.0, "passive")]
    with path.open("ab") as stream:
        stream.write(decision(3, 150.0) + decision(4, 200.0, mode="advisory") + b'{"type":"deci')
    targets.poll()
    assert sent[1:] == [("p1", "A", 50.0, "passive")]
    with path.open("ab") as stream:
        stream.write(b'\n{"type":"level","level":"KILL","who":"ann","reason":"x"}\n')
    targets.poll()
    targets.poll()
    assert sent[2:] == [("cancel", "p1")] and targets.stopped
