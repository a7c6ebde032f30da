"""Breaks: found where couplings move, at the size of the test where they do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from crossimpact.estimate.equations import summed
from crossimpact.estimate.opening import open_window
from crossimpact.estimate.structural_break import (
    AFTER,
    BEFORE,
    LEAST_CHANGE,
    LEVEL,
    NONE,
    BlockScores,
    block_scores,
    detect,
)
from crossimpact.estimate.weighted_rows import history
from crossimpact.estimate.window import fit_cross_of
from crossimpact.model import Array
from crossimpact.panel import Panel

from .desk import BUCKETS, draw

BLOCKS, PAIRS = 12, 40
DATES = [f"2026-03-{day:02d}" for day in range(1, BLOCKS + 1)]


def drawn(seed: int, change: float = 0.0, at: int = 6, flip: float = 0.0) -> BlockScores:
    """Score equations of pairs whose coupling moves by `change` of itself, up or down, at a block;
    blocks of very different information, and noise that all pairs share by `flip`."""
    rng = np.random.default_rng((seed, 11))
    theta = rng.normal(0.3, 0.1, PAIRS)
    information = rng.gamma(2.0, 1.0, (BLOCKS, 1)) * rng.gamma(2.0, 400.0, PAIRS)
    noise = rng.normal(size=(BLOCKS, PAIRS)) * np.sqrt(1 - flip)
    noise += rng.normal(size=(BLOCKS, 1)) * np.sqrt(flip)
    moved = theta * change * rng.choice([-1, 1], PAIRS) * (np.arange(BLOCKS)[:, None] >= at)
    score = np.sqrt(information) * noise + information * moved
    return BlockScores(score, information, theta)


@pytest.mark.parametrize("flip", [0.0, 0.5])
def test_steady_couplings_are_called_broken_no_more_often_than_the_test_says(flip):
    p = np.array([detect([drawn(seed, flip=flip)], DATES).p_value for seed in range(40)])
    assert binomtest(int((p <= 0.1).sum()), len(p), 0.1, alternative="greater").pvalue > 1e-3
    assert (p > LEVEL).mean() >= 0.9


@pytest.mark.parametrize("at", [4, 6, 8])
def test_couplings_that_move_by_half_are_found_where_they_do(at):
    found = [detect([drawn(seed, 0.6, at)], DATES) for seed in range(5)]
    assert all(f.block for f in found) and abs(np.median([f.block for f in found]) - at) <= 1
    assert all(f.date == DATES[f.block] and f.p_value <= LEVEL for f in found)
    assert np.mean([f.change for f in found]) == pytest.approx(0.6, abs=0.25)


def ramp(seed: int, total: float) -> BlockScores:
    """Couplings that move by `total` of themselves, up or down, evenly over the window."""
    steady = drawn(seed)
    sign = np.random.default_rng(seed).choice([-1, 1], PAIRS)
    moved = steady.coupling * total * sign * np.linspace(0, 1, BLOCKS)[:, None]
    score = steady.score + steady.information * moved
    return BlockScores(score, steady.information, steady.coupling)


def test_the_doubt_of_a_ramp_is_what_it_still_has_to_go_from_the_windows_mean():
    found = [detect([ramp(seed, 0.5)], DATES) for seed in range(8)]
    doubts = [2 * f.doubt if f.block else f.doubt for f in found]
    assert np.mean(doubts) == pytest.approx(0.25, abs=0.08)


@pytest.mark.parametrize("flip", [0.0, 0.5])
def test_steady_couplings_leave_little_doubt(flip):
    """Less than half of the least change that is called a break, in the median none."""
    doubts = np.array([detect([drawn(seed, flip=flip)], DATES).doubt for seed in range(40)])
    assert np.median(doubts) <= 0.01 and doubts.mean() < LEAST_CHANGE / 2


def test_two_regimes_are_read_as_one():
    """A break that neither shows alone is the desk's."""
    alone = [detect([drawn(seed, 0.04)], DATES).p_value for seed in range(6)]
    pairs = ([drawn(seed, 0.04), drawn(seed + 100, 0.04)] for seed in range(6))
    both = [detect(pair, DATES).p_value for pair in pairs]
    assert np.median(both) < np.median(alone)


def test_a_small_change_is_none_however_sure():
    noise = drawn(0)
    information = 400 * noise.information
    moved = 0.05 * noise.coupling * (np.arange(BLOCKS)[:, None] >= 6)
    score = 20 * noise.score + information * moved
    found = detect([BlockScores(score, information, noise.coupling)], DATES)
    assert found.p_value <= LEVEL and not found.block and not found.date


def test_too_few_blocks_or_pairs_tell_nothing():
    few = drawn(0, 0.6)
    short = BlockScores(few.score[:6], few.information[:6], few.coupling)
    assert BEFORE + AFTER > 6 and detect([short], DATES[:6]) == NONE
    nothing = BlockScores(np.empty((BLOCKS, 0)), np.empty((BLOCKS, 0)), np.empty(0))
    assert detect([nothing], DATES) == NONE and detect([], DATES) == NONE
    assert NONE.recorded() == {}


# -- on a desk ---------------------------------------------------------------------------------


def moving(seed: int, change: float) -> tuple[Panel, Array]:
    """A desk of 24 days whose couplings are half of them up and half of them down from the 13th."""
    panel, truth = draw(seed, T=24 * BUCKETS, n=8, noise=3.0, fill=2.0)
    sign = np.triu(np.random.default_rng(seed).choice([-1.0, 1.0], (8, 8)), 1)
    gamma = truth["gamma"] * change * (sign + sign.T)
    late = (np.arange(len(panel.ts)) >= 12 * BUCKETS)[:, None]
    extra = late * (panel.q @ gamma.T)
    moved = replace(panel, move=panel.move + extra, s=panel.s + np.sign(panel.q) * extra)
    return moved, truth["M"] * (1 + change * (sign + sign.T))


def test_what_ships_after_a_break_is_what_holds_then():
    panel, true = moving(0, 0.6)
    window = open_window(panel, "normal", "huber", lambda flow: history(panel, flow))
    _, cross, found = fit_cross_of(window, len(window.blocks))
    assert found.block and found.recorded()["break"]["from"] == found.date
    assert abs(found.block - 6) <= 1
    assert np.linalg.norm(cross.scaled - true) < 0.15 * np.linalg.norm(true)


def test_block_scores_add_up_to_the_windows_and_vanish_at_least_squares():
    panel, truth = draw(3, T=12 * BUCKETS, n=6)
    days = [day["normal"] for _, day in history(panel, "linear")]
    scale = np.sqrt(np.outer(truth["beta"], truth["beta"]))
    scores = block_scores([*days, None], panel, summed(days, panel, None), truth["M"], scale)
    assert not scores.score[-1].any() and not scores.information[-1].any()
    z = scores.score.sum(axis=0) / np.sqrt(scores.information.sum(axis=0))
    assert np.abs(z).max() < 4  # at the truth, scores are noise of their information
