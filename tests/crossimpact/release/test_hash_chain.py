"""Lines of a chained file: one spelling, with their own hash in its place."""

from __future__ import annotations

from typing import Any

import pytest

from crossimpact.plain_data import canonical_json
from crossimpact.release import hash_chain


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"a": 1},
        {"z": 2},
        {"sha": 1, "sha2567": 2, "zz": [1, {"b": 2, "a": 1}]},
        {"kind": "event", "seq": 3, "prev": "x", "skipped": ["y"], "event": {"at": "\u00e9"}},
    ],
)
def test_a_line_is_the_canonical_body_with_the_bodys_hash(body: dict[str, Any]) -> None:
    digest = hash_chain.sha256(canonical_json(body))
    assert hash_chain.line(body) == canonical_json({**body, "sha256": digest}) + b"\n"
