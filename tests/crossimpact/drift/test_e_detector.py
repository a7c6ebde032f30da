"""The detector keeps its promise under any null, however often one looks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import binomtest

from crossimpact.drift import e_detector
from crossimpact.release.policy import DEFAULT

P = st.floats(1e-12, 1.0)


@pytest.mark.parametrize("bet", range(len(e_detector.BETS)))
def test_a_bet_is_worth_one_when_p_is_uniform(bet):
    assert quad(lambda p: e_detector.e_values(p)[bet], 0, 1)[0] == pytest.approx(1.0, abs=1e-6)


@given(P, P)
def test_a_larger_p_never_has_more_evidence(p, q):
    """So a p-value that is larger than uniform, as of a composite null, is worth less than one."""
    assert e_detector.e_value(max(p, q)) <= e_detector.e_value(min(p, q))


@given(st.lists(P, max_size=30))
def test_the_detector_is_the_sum_over_all_starts(history):
    """Each start multiplies the e-values since; the detector adds the starts up."""
    starts = [
        np.prod([e_detector.e_values(p) for p in history[k:]], axis=0) for k in range(len(history))
    ]
    assert e_detector.evidence(history) == pytest.approx(
        np.sum(starts, axis=0).mean() if starts else 0
    )


@given(st.lists(P, max_size=10), st.integers(0, 10))
def test_a_week_without_a_verdict_changes_nothing(history, at):
    assert e_detector.evidence([*history[:at], np.nan, *history[at:]]) == e_detector.evidence(
        history
    )
    assert e_detector.e_value(np.nan) == 1


def test_expected_evidence_is_at_most_the_number_of_weeks():
    """E R_t <= t, the martingale the bound rests on; p-values are kept from the last thousandth,
    where a simulation would not see the mean of the boldest bet."""
    p = np.maximum(np.random.default_rng(0).random((20_000, 8)), 1e-3)
    found = e_detector.running(p)[:, -1]
    kept = np.array(
        [1 - (1 - kappa) * 1e-3**kappa for kappa in e_detector.BETS]
    )  # mean of each bet
    expected = np.mean([sum(kept**week for week in range(1, 9))])
    assert expected < 8
    assert abs(found.mean() - expected) < 5 * found.std() / np.sqrt(len(found))


def test_a_year_of_weekly_looks_seldom_alarms():
    """Doob's bound on the whole desk: 2 regimes with 8 statistics each, entirely dependent or
    independent, uniform p-values (the worst null there is)."""
    years, tests, alpha = 400, 16, DEFAULT.drift.alpha
    p = np.random.default_rng(1).random((years, tests, e_detector.HORIZON))
    p[1::2] = p[1::2, :1]
    alarms = int((e_detector.running(p).max(axis=(1, 2)) >= e_detector.limit(tests, alpha)).sum())
    assert binomtest(alarms, years, alpha, alternative="greater").pvalue > 0.01


def test_evidence_against_the_null_grows_week_by_week():
    weak = [e_detector.evidence([0.01] * weeks) for weeks in range(1, 12)]
    assert all(b > 2 * a for a, b in pairwise(weak))
    assert weak[0] < e_detector.limit(16, DEFAULT.drift.alpha) < weak[-1]
