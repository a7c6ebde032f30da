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
    "--enable-logging=stderr",
]

#: Loads the page in a frame of the width asked and writes down what a reader would see.
HARNESS = """<!doctype html><pre id="seen"></pre>
<iframe id="page" src="{page}" style="width:{width}px;height:900px;border:0"></iframe>
<script>
document.getElementById("page").onload = event => {{
  const frame = event.target.contentWindow, root = frame.document.documentElement;
  const drawn = svg =>
    svg.getBoundingClientRect().width > 100 && svg.querySelector("path, rect, line");
  document.getElementById("seen").textContent = JSON.stringify({{
    title: frame.document.querySelector("h1").innerText,
    figures: [...frame.document.querySelectorAll("svg")].filter(drawn).length,
    overflow: root.scrollWidth - root.clientWidth,
    fetched: frame.performance.getEntriesByType("resource").map(entry => entry.name),
    narrow: [...frame.document.querySelectorAll("table.cards tbody td")].filter(
      cell => cell.scrollWidth > cell.clientWidth + 1 && frame.innerWidth < 500).length,
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
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert console == []
    (seen,) = re.findall(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    return dict(json.loads(unescape(seen)))


@pytest.mark.skipif(BROWSER is None, reason="no chromium here (Debian: apt-get install chromium)")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_draws_fits_and_fetches_nothing(tmp_path, width):
    seen = look(make(tmp_path / "home").report, width, tmp_path)
    assert "Transaction cost" in seen["title"]
    assert seen["figures"] == 7
    assert seen["narrow"] == 0
    assert seen["overflow"] <= 0
    assert seen["fetched"] == []
    assert seen["unseen"] == 0


@pytest.mark.skipif(BROWSER is None, reason="no chromium here (Debian: apt-get install chromium)")
def test_the_weeks_report_fits_and_fetches_nothing(tmp_path):
    made = make(tmp_path / "home").report.parent
    seen = look(next(made.glob("hotspots-*.html")), 390, tmp_path)
    assert "Hotspots" in seen["title"]
    assert (seen["overflow"] <= 0, seen["fetched"], seen["narrow"]) == (True, [], 0)
