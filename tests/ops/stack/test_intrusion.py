"""Secrets are found wherever they lie, but where they are kept."""

from __future__ import annotations

import base64
from pathlib import Path

from ops.stack.intrusion import told


def test_a_secret_is_found_in_any_file_but_its_keeper(tmp_path: Path) -> None:
    secrets = {"REDIS_PASSWORD": "x7Q-_secret", "OTHER": "y8"}
    keeper = tmp_path / "volumes" / "logins" / "passwords.json"
    keeper.parent.mkdir(parents=True)
    keeper.write_text('{"operator": "x7Q-_secret"}')
    (tmp_path / "clean.log").write_text("x7Q-_secre" + base64.b64encode(b"y9").decode())
    (tmp_path / "link").symlink_to(keeper)
    assert told(tmp_path, secrets, keeper) == []
    (tmp_path / "binary").write_bytes(b"\x00\xffredis://:x7Q-_secret@redis\x00")
    (tmp_path / "volumes" / "page.html").write_text("<td>y8</td>")
    assert told(tmp_path, secrets, keeper) == [
        "REDIS_PASSWORD in binary",
        "OTHER in volumes/page.html",
    ]
    assert told(tmp_path, secrets, tmp_path / "elsewhere")[1].startswith("REDIS_PASSWORD in vol")
