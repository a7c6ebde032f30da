"""Walk-forward: nothing is scored that was seen, and scores are what they are by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossimpact.estimate.walk_forward import (
    BLOCKS,
    MIN_BLOCKS,
    MIN_PARTS,
    OUTLIER,
    PART_BUCKETS,
    PURGE,
    STEPS,
    Candidate,
    Score,
    bucket_costs,
    date_blocks,
    parts_of_session,
    splits,
    walk_forward,
)
from crossimpact.model import ImpactModel
from crossimpact.panel import Panel
from crossimpact.response import MOVES, Response
from crossimpact.slope import through_origin

from .desk import BUCKETS, draw, with_cells, without_cross


def model(panel: Panel, truth: dict[str, np.ndarray], *, cross: float = 1.0) -> ImpactModel:
    """What was planted, cross terms times a factor."""
    return ImpactModel(
        panel.symbols, panel.sectors, panel.adv, "normal", truth["alpha"], truth["beta"],
        cross * truth["gamma"], provenance={"peer_bps": np.zeros((panel.n, 2)).tolist()},
    )  # fmt: skip


def scored(panel: Panel, candidates: dict[str, Candidate], share: float = 0.0):
    blocks = date_blocks([str(d) for d in np.unique(panel.date)])
    return walk_forward(panel, Response(share), blocks, lambda train: candidates)


# -- splits ------------------------------------------------------------------------------------


@given(st.integers(0, 60))
def test_every_test_block_comes_after_all_it_is_judged_by(blocks):
    steps = splits(blocks)
    assert bool(steps) == (blocks >= MIN_BLOCKS) and len(steps) <= STEPS
    tested = [block for _, test in steps for block in test]
    assert tested == list(range(blocks - len(tested), blocks)) and len(tested) <= blocks / 2
    for train, test in steps:
        assert 0 < train <= min(test)


@given(st.integers(0, 200))
def test_blocks_hold_every_date_once_and_in_order(days):
    dates = [f"{d:04d}" for d in range(days)]
    blocks = date_blocks(dates)
    assert [d for block in blocks for d in block] == dates
    assert len(blocks) == min(days, BLOCKS)
    assert max(map(len, blocks), default=0) - min(map(len, blocks), default=0) <= 1


def test_no_bucket_is_scored_that_was_trained_on_or_lies_at_the_seam():
    """Every response up to the purge's end is changed after fitting; no score moves."""
    panel, truth = draw(T=9 * BUCKETS)
    dates = np.unique(panel.date)
    candidates = {"self_only": Candidate(model(panel, truth, cross=0.0))}
    scores, steps = scored(panel, candidates)
    assert steps == STEPS
    firsts = [test[0] for _, test in splits(9)]
    seen = panel.date < dates[firsts[0]]
    seams = [np.flatnonzero(panel.date == dates[day])[:PURGE] for day in firsts]
    rows = np.concatenate([np.flatnonzero(seen), *seams])
    again, _ = scored(with_cells(panel, move=(rows, 77.0), s=(rows, 77.0)), candidates)
    assert again["self_only"].r2 == scores["self_only"].r2
    other, _ = scored(with_cells(panel, move=(seams[0][-1] + 1, 9.0)), candidates)
    assert other["self_only"].r2 != scores["self_only"].r2


def test_a_step_that_cannot_be_fitted_is_not_counted():
    panel, truth = draw(T=9 * BUCKETS)
    blocks = date_blocks([str(d) for d in np.unique(panel.date)])
    base, asked = {"self_only": Candidate(model(panel, truth, cross=0.0))}, []

    def fit(train: int) -> dict[str, Candidate]:
        asked.append(train)
        return base if len(asked) > 1 else {}

    scores, steps = walk_forward(panel, MOVES, blocks, fit)
    assert asked == [train for train, _ in splits(9)] and steps == STEPS - 1
    assert len(scores["self_only"].error) == sum(len(test) for _, test in splits(9)[1:])
    assert walk_forward(panel, MOVES, blocks[:3], fit) == ({}, 0)


# -- scores ------------------------------------------------------------------------------------


def test_scores_are_what_they_are_by_hand():
    """Weights one over each name's squared scale; errors summed by day; no model sees the level."""
    panel, truth = draw(T=9 * BUCKETS, active=1.0)
    truth = {**truth, "alpha": np.zeros(panel.n)}
    true, alone = (model(panel, truth, cross=c) for c in (1.0, 0.0))
    scores, _ = scored(panel, {"self_only": Candidate(alone), "true": Candidate(true)})
    error = {"self_only": [], "true": []}
    total, gained = [], []
    dates = np.unique(panel.date)
    for _, step in splits(9):
        rows = np.flatnonzero(np.isin(panel.date, dates[step]))[PURGE:]
        left = panel.move[rows] - truth["beta"] * panel.q[rows]
        size = np.sort(np.abs(left), axis=0)
        assert size[-1].max() < OUTLIER * 8
        sigma = size[round(0.8 * (len(rows) - 1))] / 1.2816
        for day in step:
            at = panel.date[rows] == dates[day]
            miss = {"self_only": left, "true": left - truth["cross"][rows]}
            for name in error:
                error[name].append(((miss[name] / sigma) ** 2)[at].sum())
            total.append(((panel.move[rows] / sigma) ** 2)[at].sum())
            gained.append(error["self_only"][-1] - error["true"][-1])
    for name, found in scores.items():
        assert found.r2 == pytest.approx(1 - sum(error[name]) / sum(total))
    gain, se = scores["true"].gain_over(scores["self_only"])
    assert gain == pytest.approx(sum(gained) / sum(total))
    assert se == pytest.approx(np.std(gained, ddof=1) * np.sqrt(len(gained)) / sum(total))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_truth_scores_best_of_all_multiples_of_itself(share):
    panel, truth = draw(3, T=16 * BUCKETS, noise=3.0, fill=1.0)
    factors = {"self_only": 0.0, "half": 0.5, "true": 1.0, "double": 2.0, "turned": -1.0}
    candidates = {k: Candidate(model(panel, truth, cross=c)) for k, c in factors.items()}
    scores, _ = scored(panel, candidates, share)
    assert max(scores, key=lambda name: scores[name].r2) == "true"
    assert max(scores, key=lambda name: scores[name].basket_r2) == "true"
    assert scores["turned"].r2 < scores["self_only"].r2 < scores["half"].r2
    assert scores["true"].slippage_r2 > scores["self_only"].slippage_r2
    assert scores["self_only"].basket_r2 == 0.0
    assert np.nanmedian(scores["true"].name_gains(scores["self_only"])) > 0


def test_the_gains_error_is_the_spread_over_worlds():
    z = []
    for seed in range(30):
        panel, truth = draw(seed, T=40 * BUCKETS, n=4)
        silent = without_cross(panel, truth)
        candidates = {"self_only": Candidate(model(panel, truth, cross=0.0)),
                      "noise": Candidate(model(panel, truth, cross=0.5))}  # fmt: skip
        scores, _ = scored(silent, candidates)
        gain, se = scores["noise"].gain_over(scores["self_only"])
        lost = -((0.5 * truth["cross"][panel.date >= np.unique(panel.date)[20]]) ** 2).sum()
        total = (silent.move[panel.date >= np.unique(panel.date)[20]] ** 2).sum()
        z.append((gain - lost / total) / se)
    assert np.abs(np.mean(z)) < 0.6 and 0.6 < np.std(z) < 1.6


def test_a_gain_of_nothing_over_nothing():
    score = Score(error=[np.zeros(2)], total=[np.zeros(2)])
    gain, se = score.gain_over(score)
    assert gain == 0.0 and np.isnan(se) and score.r2 == 0.0
    assert np.isnan(score.name_gains(score)).all()


def test_an_outlier_is_scored_for_nobody_and_one_cell_owns_no_score():
    panel, truth = draw(T=9 * BUCKETS)
    candidates = {"self_only": Candidate(model(panel, truth, cross=0.0))}
    at = np.flatnonzero(panel.date == np.unique(panel.date)[-1])[20]
    clean = scored(panel, candidates)[0]["self_only"].r2
    for value in (500.0, 4999.0, np.nan):
        dirty = scored(with_cells(panel, move=((at, 0), value), s=((at, 0), np.nan)), candidates)
        assert abs(dirty[0]["self_only"].r2 - clean) < 0.02
    gone = with_cells(panel, move=((slice(None), 0), np.nan), s=((slice(None), 0), np.nan))
    before = scored(gone, candidates)[0]["self_only"].r2
    lucky = truth["beta"][0] * panel.q[at, 0] + 1e-3
    after = scored(with_cells(gone, move=((at, 0), lucky)), candidates)[0]["self_only"].r2
    assert abs(after - before) < 0.02


def test_a_price_that_seldom_ticks_is_scored_when_it_does():
    panel, truth = draw(T=9 * BUCKETS)
    ticks = np.round(panel.move[:, 0] / 25.0) * 25.0
    assert np.mean(ticks == 0) > 0.8
    bound = with_cells(panel, move=((slice(None), 0), ticks))
    alone = {"self_only": Candidate(model(panel, truth, cross=0.0))}
    days = scored(bound, alone)[0]["self_only"].total
    for date, total in zip(np.unique(panel.date)[6:], days, strict=True):
        ticked = (ticks != 0)[panel.date == date].any()
        assert (total[0] > 0) == ticked


def test_peer_moves_are_taken_out_before_scoring():
    panel, truth = draw(T=9 * BUCKETS, confounded=True)
    fitted = model(panel, truth)
    peers = np.column_stack((np.full(panel.n, 3000.0), np.zeros(panel.n)))
    knows = replace(fitted, provenance={"peer_bps": peers.tolist()})
    blind = scored(panel, {"self_only": Candidate(fitted)})[0]["self_only"]
    seeing = scored(panel, {"self_only": Candidate(knows)})[0]["self_only"]
    assert seeing.r2 > blind.r2


def test_every_candidate_answers_for_its_own_terms():
    """Beta and the flow transform count as much as gamma does."""
    panel, truth = draw(T=9 * BUCKETS)
    alone = model(panel, truth, cross=0.0)
    candidates = {
        "self_only": Candidate(alone),
        "none": Candidate(replace(alone, beta=0.0 * alone.beta)),
        "sqrt": Candidate(replace(alone, transform="sqrt", reference=np.full(panel.n, 1e-2))),
    }
    scores, _ = scored(panel, candidates)
    assert scores["none"].r2 < scores["self_only"].r2 - 0.02
    assert scores["sqrt"].r2 < scores["self_only"].r2 - 0.02


def test_a_placebo_reads_other_flows():
    panel, truth = draw(T=9 * BUCKETS)
    true = model(panel, truth)
    candidates = {
        "self_only": Candidate(model(panel, truth, cross=0.0)),
        "same": Candidate(true, panel.q),
        "none": Candidate(true, np.zeros_like(panel.q)),
        "true": Candidate(true),
        "placebo": Candidate(true, panel.shifted_q()),
    }
    scores, _ = scored(panel, candidates)
    assert scores["same"].r2 == scores["true"].r2
    assert scores["none"].r2 == scores["self_only"].r2
    assert scores["placebo"].r2 < scores["self_only"].r2 < scores["true"].r2


# -- slope -------------------------------------------------------------------------------------


def test_bucket_costs_by_hand():
    panel, _ = draw(T=3, n=2)
    panel = replace(
        panel, adv=np.array([1.0, 2.0]), q=np.array([[3.0, 2.0], [1.0, -2.0], [0.0, 0.0]])
    )
    cross = np.array([[1.0, 10.0], [5.0, 5.0], [7.0, 7.0]])
    realized = np.array([[2.0, -1.0], [np.nan, 3.0], [1.0, 1.0]])
    x, y = bucket_costs(panel, cross, realized)
    np.testing.assert_allclose(x, [(3 * 1 + 4 * 10) / 5, -4 * 5 / 4])
    np.testing.assert_allclose(y, [(3 * 2 - 4 * 1) / 5, -4 * 3 / 4])


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_the_slope_is_one_over_what_the_prediction_exaggerates(factor):
    panel, truth = draw(5, T=16 * BUCKETS, noise=2.0, fill=1.0)
    candidates = {
        "self_only": Candidate(model(panel, truth, cross=0.0)),
        "scaled": Candidate(model(panel, truth, cross=factor)),
    }
    fit = scored(panel, candidates)[0]["scaled"].slope()
    assert abs(fit.value - 1 / factor) < 3.5 * fit.se < 1


def test_the_slopes_error_covers():
    z = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        x = rng.standard_t(5, 200)
        y = 0.8 * x + (1 + np.abs(x)) * rng.normal(size=200)
        fit = through_origin(x, y)
        z.append((fit.value - 0.8) / fit.se)
    assert abs(np.mean(z)) < 0.25 and 0.85 < np.std(z) < 1.25
    assert np.isnan(through_origin(np.zeros(4), np.ones(4)).value)


# -- parts of sessions -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dates", "buckets", "parts"),
    [(3, 234, 4), (2, 156, 4), (3, 2340, 4), (2, 1560, 6), (1, 780, 1), (4, 312, 1), (3, 60, 1)],
)
def test_dates_are_cut_only_where_whole_ones_cannot_be_held_out(dates, buckets, parts):
    assert parts_of_session(dates, buckets) == parts
    if parts > 1:
        assert parts * dates >= MIN_PARTS and buckets / (parts * dates) >= PART_BUCKETS


def test_parts_hold_every_bucket_once_and_in_order():
    panel, _ = draw(T=3 * BUCKETS)
    cut = panel.in_parts(4)
    assert panel.in_parts(1) is panel
    assert list(cut.date) == sorted(cut.date) and len(np.unique(cut.date)) == 12
    assert [d.partition(" ")[0] for d in cut.date] == list(panel.date)
    _, sizes = np.unique(cut.date, return_counts=True)
    assert sizes.min() >= BUCKETS // 4 and sizes.max() <= BUCKETS // 4 + 1
    short = cut.where(np.delete(np.arange(3 * BUCKETS), np.arange(60, BUCKETS)))
    assert len(np.unique(short.in_parts(1).date)) == 12


def test_the_seam_within_a_session_is_purged_too():
    """The first buckets of a test part are changed after fitting; no score moves."""
    panel, truth = draw(T=3 * BUCKETS)
    cut = panel.in_parts(4)
    labels = np.unique(cut.date)
    candidates = {"self_only": Candidate(model(cut, truth, cross=0.0))}
    scores, steps = scored(cut, candidates)
    assert steps == STEPS and len(scores["self_only"].error) == 4
    firsts = [test[0] for _, test in splits(12)]
    rows = np.concatenate([np.flatnonzero(cut.date == labels[k])[:PURGE] for k in firsts])
    again, _ = scored(with_cells(cut, move=(rows, 77.0), s=(rows, 77.0)), candidates)
    assert again["self_only"].r2 == scores["self_only"].r2
    other, _ = scored(with_cells(cut, move=(rows[-1] + 1, 9.0)), candidates)
    assert other["self_only"].r2 != scores["self_only"].r2


def test_the_placebo_of_parts_is_half_a_session_late():
    panel, _ = draw(T=3 * BUCKETS)
    cut = panel.in_parts(6)
    late = cut.shifted_q(3)
    assert not late[: BUCKETS // 2].any()
    np.testing.assert_array_equal(late[BUCKETS // 2 :], panel.q[: -(BUCKETS // 2)])


def test_the_mean_over_names_counts_every_name_once():
    score = Score(error=[np.array([1.0, 50.0, 0.0])], total=[np.array([2.0, 100.0, 0.0])])
    assert score.name_r2 == 0.5 == score.r2
    score = Score(error=[np.array([0.0, 100.0])], total=[np.array([1.0, 100.0])])
    assert score.name_r2 == 0.5 and score.r2 == pytest.approx(1 / 101)
