"""Draws of a judge, the kernels in its place, and what verdicts are made of them."""

from __future__ import annotations

import numpy as np
import pytest

from crossimpact.shadow import impact
from crossimpact.shadow.baselines import twap, vwap
from crossimpact.shadow.counterfactual import EXECUTED, Replayed, costs
from crossimpact.shadow.draws import drawn
from crossimpact.shadow.evidence import agreed, verdict
from crossimpact.shadow.impact import Judge
from crossimpact.shadow.judging import KERNELS, POLICIES, UNCHOSEN, Verdicts, chosen
from crossimpact.shadow.rows import rows
from tests.crossimpact.shadow import days

MODEL = days.model()
DAY = days.day(MODEL)
JUDGE = Judge.of({MODEL.regime: MODEL}, DAY.symbols, DAY.adv)
TOLD = Replayed(
    DAY, {EXECUTED: twap(DAY, days.POV), "vwap": vwap(DAY, days.POV)}, np.zeros(len(DAY.orders))
)
COUNTED = np.array([True, False, True, True])
FEW = 8


def test_gains_by_draw_are_the_costs_under_each_set_of_numbers():
    """Stacked flows, and kernels felt backwards, against one schedule and draw at a time."""
    curves = impact.curves()
    found = drawn(JUDGE, TOLD, curves, COUNTED, FEW, seed=3)
    for d, numbers in enumerate(JUDGE.draws(FEW, 3)):
        one = costs(JUDGE, numbers, TOLD)["vwap"]
        assert np.allclose(found.by_basket["vwap"][:, d], -one, rtol=1e-9, atol=1e-9)
        for (name, k), total in found.total.items():
            one = costs(JUDGE, numbers, TOLD, curves[name][k])["vwap"]
            assert total["vwap"][d] == pytest.approx(-one[COUNTED].sum(), rel=1e-9, abs=1e-9)


def test_equal_seeds_give_equal_draws_to_the_byte():
    one, two = (drawn(JUDGE, TOLD, {}, COUNTED, FEW).by_basket["vwap"] for _ in range(2))
    assert one.tobytes() == two.tobytes()
    other = drawn(JUDGE, TOLD, {}, COUNTED, FEW, seed=1).by_basket["vwap"]
    assert not np.array_equal(one, other)


def test_draws_have_the_standard_errors_and_pairs_stay_symmetric():
    sets = [each[MODEL.regime] for each in JUDGE.draws(400, 0)]
    beta = np.array([each.beta for each in sets])
    assert np.allclose(beta.std(axis=0) / MODEL.beta_se, 1.0, atol=0.15)
    gamma = np.array([each.gamma for each in sets])
    model = JUDGE.models[MODEL.regime]
    known = model.gamma_se > 0
    ratio = gamma.std(axis=0)[known] / model.gamma_se[known]
    assert np.median(ratio) == pytest.approx(impact.COUPLING_DOUBT, rel=0.05)
    i, j = np.argwhere(np.triu(known, 1))[0]
    one = (gamma[:, i, j] - model.gamma[i, j]) / model.gamma_se[i, j]
    other = (gamma[:, j, i] - model.gamma[j, i]) / model.gamma_se[j, i]
    assert np.allclose(one, other)
    half = np.array([each.curve(np.array([30.0]))[0] for each in sets])
    assert half.std() > 0 and all(0 <= g <= 1 for g in half)
    assert (np.diagonal(gamma, axis1=1, axis2=2) == 0).all()


def test_errors_of_few_days_draw_wider():
    known = days.replace(JUDGE, days=5)
    few, many = (
        np.array([each[MODEL.regime].beta for each in judge.draws(400, 0)]).std(axis=0).mean()
        for judge in (known, JUDGE)
    )
    assert few == pytest.approx(np.sqrt(2) * many, rel=0.25)  # t of 4: variance 2


def test_a_pair_that_was_not_found_is_in_doubt_too():
    lone = np.zeros_like(MODEL.gamma)
    lone[0, 1], lone[1, 0] = MODEL.gamma[0, 1] or 1.0, MODEL.gamma[1, 0] or 1.0
    sparse = days.replace(MODEL, gamma=lone, gamma_se=np.where(lone != 0, 0.1, np.nan))
    judge = Judge.of({MODEL.regime: sparse}, DAY.symbols, DAY.adv)
    se = judge.models[MODEL.regime].gamma_se
    assert (se[~np.eye(MODEL.n, dtype=bool)] > 0).all() and (np.diagonal(se) == 0).all()


@pytest.mark.parametrize(
    ("gains", "outside", "says"),
    [
        (np.arange(-20, 180) + 0.5, 0.0, "gain"),
        (np.arange(-21, 179) + 0.5, 0.0, "unproven"),
        (np.arange(-180, 20) + 0.5, 0.0, "loss"),
        (np.arange(-100, 100), 0.0, "unproven"),
        (np.zeros(200), 0.0, "unproven"),
        (np.ones(200), 0.03, "gain"),
        (np.ones(200), 0.031, "outside evidence"),
        (np.ones(200), float("nan"), "outside evidence"),
        (np.full(200, np.nan), 0.0, "unproven"),
    ],
)
def test_verdicts(gains, outside, says):
    assert verdict(np.asarray(gains, dtype=float), outside) == says


def two_halves() -> Verdicts:
    """Either half chose `vwap` for everything; their models differ."""
    made = dict.fromkeys(UNCHOSEN, TOLD.schedules["vwap"]) | {EXECUTED: TOLD.schedules[EXECUTED]}
    made |= {
        chosen(p, k): TOLD.schedules["vwap"] for p in POLICIES if p not in UNCHOSEN for k in (0, 1)
    }
    other = days.replace(MODEL, beta=1.3 * MODEL.beta)
    judges = [JUDGE, Judge.of({MODEL.regime: other}, DAY.symbols, DAY.adv)]
    told = Replayed(DAY, made, np.full(len(DAY.orders), 5.0))
    return Verdicts(told, judges, COUNTED, FEW)


def test_rows_have_every_policy_judge_and_kernel_and_add_up():
    made = rows(two_halves(), ("ok", "no volume", "ok", "ok"), 1.0, ())
    assert len(made.daily) == len(POLICIES) * 2 * len(KERNELS)
    assert len(made.baskets) == len(POLICIES) * 2 * 4
    for row in made.baskets:
        assert row.executed_is_bps - row.is_bps == pytest.approx(row.gain_bps, abs=1e-9)
        assert row.is_usd == pytest.approx(row.is_bps * row.notional_usd / 1e4)
    for row in made.daily:
        those = [
            b for b in made.baskets
            if (b.policy, b.judge, b.status) == (row.policy, row.judge, "ok")
        ]  # fmt: skip
        assert (row.baskets, row.notional_usd) == (
            3, pytest.approx(sum(b.notional_usd for b in those)),
        )  # fmt: skip
        if row.kernel == "release":
            usd = sum(b.gain_bps * b.notional_usd for b in those)
            assert row.gain_bps == pytest.approx(usd / row.notional_usd, abs=1e-9)
        if row.policy == "executed":
            assert (row.gain_bps, row.gain_lo_bps, row.share_gain) == (0, 0, 0)
            assert row.verdict == "unproven"


def test_a_schedule_of_both_halves_alike_is_claimed_as_it_is_judged():
    """Only the judges differ then, and both speak in both rows."""
    made = rows(two_halves(), ("ok",) * 4, 1.0, ())
    gains = {(r.judge, r.kernel): r.gain_bps for r in made.daily if r.policy == "optimal"}
    for kernel in KERNELS:
        assert gains["independent", kernel] == pytest.approx(gains["claimed", kernel])


def test_a_gain_that_another_kernel_calls_a_loss_or_that_fills_less_is_unproven():
    said = dict.fromkeys(KERNELS, "gain")
    assert agreed(said, 0.9, 0.91) == said
    assert agreed({**said, "power": "loss"}, 0.9, 0.9)["release"] == "unproven"
    assert agreed({**said, "power": "unproven"}, 0.9, 0.9)["release"] == "gain"
    assert set(agreed(said, 0.87, 0.9).values()) == {"unproven"}
    lost = dict.fromkeys(KERNELS, "loss")
    assert agreed(lost, 0.5, 0.9) == lost
    assert set(agreed(said, float("nan"), 0.9).values()) == {"unproven"}
