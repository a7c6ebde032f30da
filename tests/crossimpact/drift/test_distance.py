"""Distance of a week's estimate: exact without noise, uniform under the null, loud for a change."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from crossimpact.drift.distance import STATISTICS, Distance, distances
from crossimpact.estimate.held_out import open_held_out
from crossimpact.model import Array, from_scaled
from crossimpact.panel import Panel
from tests.crossimpact.estimate.desk import draw, without_cross
from tests.crossimpact.estimate.test_held_out import champion, moved


def compare(
    panel: Panel, truth: dict[str, Array], gamma_se: float = 0.0, allowance: float = 1.5
) -> dict[str, Distance]:
    week = open_held_out(champion(panel, truth), panel)
    return distances(truth["M"], np.full_like(truth["M"], gamma_se), allowance, week)


def test_a_planted_change_is_measured():
    """Nearly without noise the fresh estimate is the truth: the distance is the change's own."""
    panel, truth = draw(0, T=390, noise=1e-4, fill=0.0)
    change = np.zeros_like(truth["M"])
    change[1, 2] = change[2, 1] = 2 * truth["M"][0, 7]
    found = compare(moved(panel, panel.q @ from_scaled(change, panel.adv).T), truth)
    size = np.linalg.norm(change) / np.linalg.norm(truth["M"])
    assert found["frobenius"].value == pytest.approx(size, rel=0.1)
    norms = np.linalg.norm(change, 2) / np.linalg.norm(truth["M"], 2)
    assert found["spectral"].value == pytest.approx(norms, rel=0.1)


def test_a_true_champion_is_as_far_as_chance_has_it():
    """p-values are uniform or larger over weeks of fat tails and common moves."""
    p = {name: [] for name in STATISTICS}
    for seed in range(120):
        panel, truth = draw(seed, T=390, common=0.4)
        noise = np.random.default_rng(seed).standard_t(3, panel.q.shape) * 4
        found = compare(moved(panel, noise), truth)
        for name in STATISTICS:
            p[name].append(found[name].p)
    for name, values in p.items():
        for level in (0.05, 0.2):
            hits = int((np.array(values) <= level).sum())
            assert binomtest(hits, 120, level, alternative="greater").pvalue > 0.005, name


def test_a_champion_that_is_an_estimate_is_granted_its_errors():
    """Errors of the size the champion owns up to do not count as drift; unowned ones do."""
    panel, truth = draw(2, T=390, noise=2.0, fill=1.0)
    error = np.triu(np.random.default_rng(1).normal(0, 500, truth["M"].shape), 1)
    off = moved(panel, panel.q @ from_scaled(error + error.T, panel.adv).T)
    assert compare(off, truth, gamma_se=500.0)["frobenius"].p > 0.05
    assert compare(off, truth, gamma_se=0.0)["frobenius"].p < 0.01


def test_turned_signs_are_counted_and_fall_outside_the_intervals():
    panel, truth = draw(2, T=390, noise=2.0, fill=1.0)
    same, turned = compare(panel, truth), compare(without_cross(panel, truth, -1.0), truth)
    assert (same["sign_flips"].value, same["sign_flips"].p) == (0, 1)
    assert same["coverage"].value > 0.7 and same["turnover"].value < 0.3
    for name in STATISTICS:
        assert turned[name].p < 0.01
    assert turned["sign_flips"].value > 5 and turned["coverage"].value < 0.3


def test_the_null_is_the_same_every_time():
    panel, truth = draw(3, T=200)
    assert compare(panel, truth) == compare(panel, truth)


def test_no_edges_no_distance():
    panel, truth = draw(3, T=200)
    nothing = np.zeros_like(truth["M"])
    week = open_held_out(champion(panel, truth).self_only(), panel)
    assert distances(nothing, nothing, 1.5, week) == {}
