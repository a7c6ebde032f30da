"""The day's page in a real browser: it draws, it fits, it fetches nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from tests.pipelines.pages.test_reports import make

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--allow-file-access-from-files",
    "--virtual-time-budget=8000",
    "--dump-dom",
]

#: Loads the page in a frame of the width asked and writes down what a reader would see.
HARNESS = """<!doctype html><pre id="seen"></pre>
<iframe id="page" src="{page}" style="width:{width}px;height:900px;border:0"></iframe>
<script>
document.getElementById("page").onload = event => {{
  const frame = event.target.contentWindow, root = frame.document.documentElement;
  const drawn = svg => svg.getBoundingClientRect().width > 100 && svg.querySelector("path");
  document.getElementById("seen").textContent = JSON.stringify({{
    title: frame.document.querySelector("h1").innerText,
    figures: [...frame.document.querySelectorAll("svg")].filter(drawn).length,
    overflow: root.scrollWidth - root.clientWidth,
    fetched: frame.performance.getEntriesByType("resource").map(entry => entry.name),
    unseen: [...frame.document.querySelectorAll("h2")].filter(h => !h.offsetHeight).length,
  }});
}};
</script>"""


def look(page: Path, width: int, scratch: Path) -> dict:
    harness = scratch / f"harness-{width}.html"
    harness.write_text(HARNESS.format(page=page.as_uri(), width=width))
    done = subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={scratch / 'profile'}", harness.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    (seen,) = re.findall(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    return dict(json.loads(unescape(seen)))


@pytest.mark.skipif(BROWSER is None, reason="no chromium here (Debian: apt-get install chromium)")
@pytest.mark.parametrize("width", [1280, 420])
def test_the_page_draws_fits_and_fetches_nothing(tmp_path, width):
    seen = look(make(tmp_path / "home").report, width, tmp_path)
    assert "Transaction cost" in seen["title"]
    assert seen["figures"] == 6
    assert seen["overflow"] <= 0
    assert seen["fetched"] == []
    assert seen["unseen"] == 0
