"""Rows of forty kinds of dirt, planted at random: found under the right rule, and none besides."""

from __future__ import annotations

import pytest

from crossimpact.simulate import DeskSpec
from tests.pipelines.planted_dirt import KINDS, Recall, recall


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Recall:
    spec = DeskSpec(symbols=8, days=1, seed=23)
    return recall(tmp_path_factory.mktemp("planted"), spec, rows=5)


def test_a_clean_desk_breaks_no_rule(found: Recall) -> None:
    assert found.clean == set()


@pytest.mark.parametrize("kind", KINDS)
def test_every_planted_row_is_found_under_its_rule(found: Recall, kind: str) -> None:
    planted = found.planted[kind]
    assert planted and planted <= found.found


def test_no_row_is_condemned_that_nobody_touched(found: Recall) -> None:
    assert found.false_positives == set()


def test_the_kinds_are_many() -> None:
    assert len(KINDS) >= 40 and len({kind.rule for kind in KINDS.values()}) >= 30
