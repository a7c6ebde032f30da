"""The weekly post-mortem of a rollout, in a real browser too: it fits, it fetches nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from crossimpact.errors import UsageError
from pipelines.pages import post_mortem
from pipelines.rollout import steps
from pipelines.rollout.week import look_back
from tests.pipelines.pages.test_page_in_browser import BROWSER, look
from tests.pipelines.rollout import desk

DAYS = desk.days(13)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The page of an A/A week with a basket that spans days, and its text."""
    settings = desk.home(tmp_path_factory.mktemp("week") / "home")
    for day in DAYS[:10]:
        desk.trade(settings, day)
    steps.start(settings, signed=desk.signed(), now=lambda: desk.night(DAYS[9]))
    desk.up(settings, DAYS[9])
    for day in DAYS[10:]:
        desk.day_of(settings, day, count=20, spans=[f"{day}/B3"])
    with pytest.raises(UsageError, match="no date up to"):
        look_back(settings, DAYS[0], now=desk.night(DAYS[-1]))
    week = look_back(settings, DAYS[-1], now=desk.night(DAYS[-1]))
    made = post_mortem.build(settings, week)
    return made, made.read_text()


def test_the_page_tells_hotspots_breaches_shadow_against_live_and_the_judge(page) -> None:
    path, text = page
    assert path.name == f"rollout-{DAYS[10]}.html"
    for told in (
        "<b>Not enough evidence</b>", "A, B", "Stagger breaches", "it spans days", "Claimed",
        "realized on expected, 95%",
    ):  # fmt: skip
        assert told in text, told
    assert (path.parent / "index.html").read_text().count(path.stem) == 2


def test_the_same_week_gives_the_same_bytes(page) -> None:
    path, text = page
    settings = desk.Settings(path.parents[1])
    week = look_back(settings, DAYS[-1], now=desk.night(DAYS[-1]))
    assert post_mortem.build(settings, week).read_text() == text


@pytest.mark.skipif(BROWSER is None, reason="no chromium here (Debian: apt-get install chromium)")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_and_fetches_nothing(page, tmp_path: Path, width: int) -> None:
    path, _ = page
    copy = shutil.copy(path, tmp_path / "page.html")
    seen = look(Path(copy), width, tmp_path)
    assert seen["figures"] == 2 and seen["overflow"] == 0 and seen["unseen"] == 0
    assert seen["fetched"] == []
