"""The day's prediction is the model's own cost, and nothing where no model speaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crossimpact.errors import ModelError
from crossimpact.model import BPS, Array, ImpactModel
from crossimpact.tca import pair_costs, predict

SYMBOLS = ("AAA", "BBB", "CCC", "DDD")
REGIMES = ("normal", "stressed", "normal", "normal", "stressed")
flows = arrays(np.float64, (len(REGIMES), len(SYMBOLS)), elements=st.floats(-0.05, 0.05))


def make(regime: str, symbols: tuple[str, ...] = SYMBOLS, seed: int = 1) -> ImpactModel:
    rng = np.random.default_rng([seed, len(regime)])
    n = len(symbols)
    gamma = rng.normal(0, 50, (n, n))
    np.fill_diagonal(gamma, 0)
    return ImpactModel(
        symbols=symbols,
        sectors=("tech",) * n,
        adv=rng.uniform(1e6, 1e8, n),
        regime=regime,
        alpha=rng.uniform(0, 2, n),
        beta=rng.uniform(50, 200, n),
        gamma=gamma,
    )


def models() -> dict[str, ImpactModel]:
    """One set of numbers per regime but the same ADV: a day has one."""
    normal = make("normal")
    return {"normal": normal, "stressed": replace(make("stressed"), adv=normal.adv)}


@given(flows)
def test_priced_moves_add_up_to_the_model_cost(q: Array) -> None:
    both = models()
    day = predict(both, REGIMES, q, SYMBOLS)
    notional = q * both["normal"].adv
    for t, regime in enumerate(REGIMES):
        cost = both[regime].cost(q[t])
        assert BPS * notional[t] @ day.self_bps[t] == pytest.approx(cost.self_impact)
        assert BPS * notional[t] @ day.cross_bps[t] == pytest.approx(cost.cross)


@given(flows)
def test_all_pairs_together_are_the_predicted_cross_cost(q: Array) -> None:
    both = models()
    adv = 1.3 * both["normal"].adv
    pairs = pair_costs(both, REGIMES, q, SYMBOLS, adv)
    day = predict(both, REGIMES, q, SYMBOLS)
    whole = BPS * (q * adv * day.cross_bps).sum()
    assert sum(pair.usd for pair in pairs) == pytest.approx(whole, rel=1e-9, abs=1e-6)
    assert [abs(p.usd) for p in pairs] == sorted((abs(p.usd) for p in pairs), reverse=True)


@given(flows, st.permutations(range(len(SYMBOLS))))
def test_the_order_of_symbols_does_not_matter(q: Array, order: list[int]) -> None:
    straight = predict(models(), REGIMES, q, SYMBOLS)
    shuffled = predict(models(), REGIMES, q[:, order], [SYMBOLS[i] for i in order])
    np.testing.assert_array_equal(shuffled.self_bps, straight.self_bps[:, order])
    np.testing.assert_allclose(shuffled.cross_bps, straight.cross_bps[:, order], atol=1e-12)


def test_pairs_name_both_directions_of_gamma() -> None:
    model = make("normal")
    q = np.zeros((1, 4))
    q[0, [1, 3]] = 0.01, -0.02
    (pair,) = pair_costs({"normal": model}, ["normal"], q, SYMBOLS, model.adv)
    assert (pair.symbol_i, pair.symbol_j) == ("BBB", "DDD")
    assert (pair.gamma_ij, pair.gamma_ji) == (model.gamma[1, 3], model.gamma[3, 1])
    assert pair.usd == pytest.approx(model.cost(q[0]).cross)


def test_a_regime_without_a_model_moves_nothing_and_says_so() -> None:
    q = np.full((5, 4), 0.01)
    normal = {"normal": make("normal")}
    day = predict(normal, REGIMES, q, SYMBOLS, {"stressed": "fixed_pov/stressed (few buckets)"})
    stressed = np.array(REGIMES) == "stressed"
    assert not day.self_bps[stressed].any()
    assert not day.cross_bps[stressed].any()
    assert day.priced_by[:2] == ("model/normal", "fixed_pov/stressed (few buckets)")
    assert (day.priced == ~stressed[:, None]).all()


def test_a_symbol_no_model_knows_is_named_and_leaves_the_others_alone() -> None:
    q = np.full((1, 3), 0.01)
    known = make("normal", ("AAA", "BBB"))
    day = predict({"normal": known}, ["normal"], q, ("AAA", "NEW", "BBB"))
    assert day.unpriced == ("NEW",)
    assert day.self_bps[0, 1] == day.cross_bps[0, 1] == 0
    np.testing.assert_allclose(day.cross_bps[0, [0, 2]], known.cross_bps(np.full(2, 0.01)))


def test_an_unknown_symbol_that_did_not_trade_is_not_named() -> None:
    day = predict({"normal": make("normal", ("AAA",))}, ["normal"], np.zeros((1, 1)), ("NEW",))
    assert day.unpriced == ()


def test_a_day_without_buckets_or_symbols_is_empty() -> None:
    day = predict(models(), [], np.zeros((0, 0)), [])
    assert day.self_bps.shape == (0, 0)
    assert day.priced_by == ()
    assert pair_costs(models(), [], np.zeros((0, 0)), [], np.zeros(0)) == []


def test_flow_that_is_no_number_is_refused_by_name() -> None:
    q = np.zeros((5, 4))
    q[2, 1] = np.nan
    with pytest.raises(ModelError, match="q of BBB in bucket 2 is not finite"):
        predict(models(), REGIMES, q, SYMBOLS)
    with pytest.raises(ModelError, match="5 buckets and 3 symbols"):
        predict(models(), REGIMES, q, SYMBOLS[:3])
