"""The decay of impact: planted kernels are found, and what cannot be told is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.decaying_desks import DecayingDesk, draw
from crossimpact.errors import EstimationError
from crossimpact.estimate.carried import carried, net_of_carried
from crossimpact.estimate.decay import STAYS, DecayFit, fit_decay, later_gain, later_slope
from crossimpact.estimate.decay_placebo import placebo
from crossimpact.estimate.decay_shape import Quadratic, best_one_rate, coefficients
from crossimpact.estimate.decay_sums import (
    DaySums,
    DecaySums,
    Rates,
    day_sums,
    decay_sums,
    pushes,
    rates_of,
    state_changes,
)
from crossimpact.estimate.lag_curve import lag_curve
from crossimpact.kernel.decay import Decay
from crossimpact.model import ImpactModel
from crossimpact.panel import Panel
from tests.crossimpact.estimate.desk import calendar

DAYS = 20
LAGS = 5.0 * np.arange(24)  # minutes


@cache
def desk(half_life_min: float = 30.0, permanent: float = 0.3, seed: int = 1) -> DecayingDesk:
    return draw(seed, half_life_min=half_life_min, permanent=permanent, days=DAYS)


@cache
def summed(half_life_min: float = 30.0, permanent: float = 0.3) -> DecaySums:
    drawn = desk(half_life_min, permanent)
    return decay_sums(drawn.panel, drawn.models)


def refitted(panel: Panel, models: Mapping[str, ImpactModel] | None = None) -> DecayFit:
    return fit_decay(decay_sums(panel, models or desk().models), draws=50)


# -- planted kernels -----------------------------------------------------------------------------


@pytest.mark.parametrize(("half_life", "permanent"), [(15.0, 0.3), (30.0, 0.3), (60.0, 0.0)])
def test_a_planted_decay_is_found(half_life: float, permanent: float) -> None:
    fit = fit_decay(summed(half_life, permanent))
    assert fit.status == "decays"
    assert fit.half_life_min.value == pytest.approx(half_life, rel=0.3)
    assert fit.half_life_min.low <= half_life <= fit.half_life_min.high
    assert fit.permanent.value == pytest.approx(permanent, abs=0.2)
    assert fit.permanent.low <= permanent <= fit.permanent.high
    planted = desk(half_life, permanent).decay
    for regime, decay in fit.decays.items():
        assert decay.scale_self == pytest.approx(planted.scale_self, rel=0.12), regime
        assert decay.scale_cross == pytest.approx(planted.scale_cross, rel=0.2), regime
        assert decay.permanent == pytest.approx(fit.permanent.value)
        assert decay.half_life_min == pytest.approx(fit.half_life_min.value)
        assert decay.errors.half_life_lo == fit.half_life_min.low
        lags = np.array(decay.errors.lags_min)
        off = np.abs(
            decay.scale_self * decay.value(lags) - planted.scale_self * planted.value(lags)
        )
        assert np.all(off < 4 * np.array(decay.errors.se_self))


def test_permanent_impact_is_reported_as_permanent() -> None:
    fit = fit_decay(summed(np.inf, 1.0))
    assert fit.status == "permanent"
    assert "not separable from permanent" in fit.reason
    for decay in fit.decays.values():
        assert (decay.weights, decay.rates_per_min) == ((1.0,), (0.0,))
        assert decay.errors.half_life_lo is None
        assert decay.scale_self == pytest.approx(1 / 0.65, rel=0.12)


def test_impact_gone_a_bucket_later_is_reported_as_gone() -> None:
    fit = fit_decay(summed(0.5, 0.0))
    assert fit.status == "gone"
    assert not fit.decays
    assert "gone within the bucket" in fit.reason


def test_impact_gone_at_the_buckets_end_is_reported_as_gone() -> None:
    drawn = desk()
    kept = net_of_carried(drawn.panel, drawn.models, kernels(drawn)).move
    fit = refitted(replace(drawn.panel, move=kept - pushed(drawn)))
    assert fit.status == "gone"
    assert "the mid keeps" in fit.reason


def kernels(drawn: DecayingDesk) -> dict[str, Decay]:
    return dict.fromkeys(drawn.models, drawn.decay)


def test_permanent_impact_alone_predicts_later_days_worse_where_impact_decays() -> None:
    one = partial(coefficients, family=best_one_rate)
    gain, se = later_gain(summed(), one, STAYS)
    assert gain > 3 * se > 0
    gain, se = later_gain(summed(np.inf, 1.0), one, STAYS)
    assert gain <= 2 * se


# -- controls ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("half_life", "permanent"), [(30.0, 0.3), (np.inf, 1.0)])
def test_later_days_follow_what_is_said_of_them(half_life: float, permanent: float) -> None:
    slope = fit_decay(summed(half_life, permanent), draws=50).slope
    assert slope.low <= 1 <= slope.high
    assert 0.8 <= slope.low < slope.high <= 1.25


def test_later_days_that_answer_less_than_is_said_have_a_lower_slope() -> None:
    """Half of every push is gone in the second half of the days."""
    whole, one = summed(), partial(coefficients, family=best_one_rate)
    late = np.arange(whole.days) >= whole.days // 2
    lost = 0.5 * np.einsum("dkmln,ln->dkm", whole.gram, one_fit(whole)) * late[:, None, None]
    slope = later_slope(replace(whole, xy=whole.xy - lost), one)
    assert 0.5 < slope.value < 0.8  # each step has seen more of the days that answer less
    assert slope.high < later_slope(whole, one).low


def one_fit(sums: DecaySums) -> np.ndarray:
    """The best one-rate coefficients of the whole window, (rates, m)."""
    return coefficients(Quadratic.weighted(sums, np.ones((1, sums.days))), best_one_rate)[0]


def test_flows_a_session_late_move_nothing() -> None:
    drawn = desk()
    control = placebo(drawn.panel, drawn.models)
    assert control is not None and control.p > 0.001
    assert abs(control.own) < 3.5 * control.own_se < 0.1
    assert abs(control.cross) < 3.5 * control.cross_se < 0.25


def test_moves_that_follow_flows_a_session_late_are_found_out() -> None:
    """The desk's own flows moved a session: what they moved comes on the session after."""
    drawn = desk()
    early = np.zeros_like(drawn.panel.q)
    dates = np.unique(drawn.panel.date)
    for before, date in pairwise(dates):
        early[drawn.panel.date == before] = drawn.panel.q[drawn.panel.date == date]
    control = placebo(replace(drawn.panel, q=early), drawn.models)
    assert control is not None and control.p < 1e-6
    assert control.own == pytest.approx(1, abs=0.25)


def test_no_placebo_without_a_kernel_or_with_too_few_sessions() -> None:
    drawn = desk()
    bare = {r: replace(model, kernel=None) for r, model in drawn.models.items()}
    assert placebo(drawn.panel, bare) is None
    few = drawn.panel.where(drawn.panel.date <= np.unique(drawn.panel.date)[4])
    assert placebo(few, drawn.models) is None


def test_a_kernel_without_couplings_has_its_own_placebo_alone() -> None:
    drawn = desk()
    control = placebo(drawn.panel, {r: m.self_only() for r, m in drawn.models.items()})
    assert control is not None and np.isnan(control.cross) and np.isnan(control.cross_se)
    assert control.p > 0.001


def test_scales_answer_the_size_of_the_models() -> None:
    halved = {
        regime: replace(model, beta=0.5 * model.beta, gamma=0.5 * model.gamma)
        for regime, model in desk().models.items()
    }
    fit, twice = fit_decay(summed(), draws=50), refitted(desk().panel, halved)
    assert twice.half_life_min.value == pytest.approx(fit.half_life_min.value, rel=1e-6)
    for regime, scale in fit.scale_cross.items():
        assert twice.scale_cross[regime].value == pytest.approx(2 * scale.value, rel=1e-6)


def redrawn(drawn: DecayingDesk, *decays: Mapping[str, Decay], noise: float) -> Panel:
    """The desk, had equal parts of its pushes decayed like each of these and its noise been so
    many times as large."""
    kept = net_of_carried(drawn.panel, drawn.models, kernels(drawn)).move
    left = pushed(drawn)
    quiet = replace(drawn.panel, move=left + noise * (kept - left))
    moved = quiet.move
    for each in decays:
        faded = net_of_carried(quiet, drawn.models, each).move - quiet.move
        moved = moved - faded / len(decays)
    return replace(quiet, move=moved)


def pushed(drawn: DecayingDesk) -> np.ndarray:
    """What the bucket's own pushes move the mid by, bps, (T, n)."""
    both = pushes(drawn.panel, drawn.models)
    own, cross = both[:, :, ::2].sum(axis=2), both[:, :, 1::2].sum(axis=2)
    return drawn.decay.scale_self * own + drawn.decay.scale_cross * cross


def test_a_second_rate_ships_where_it_predicts_later_days_better() -> None:
    drawn = desk()
    fast, slow = (replace(drawn.decay, weights=(1.0,), rates_per_min=(r,)) for r in (0.14, 0.006))
    panel = redrawn(drawn, dict.fromkeys(drawn.models, fast), dict.fromkeys(drawn.models, slow),
                    noise=0.5)  # fmt: skip
    fit = refitted(panel)
    assert "two rates" in fit.reason
    planted = 0.5 * fast.value(LAGS) + 0.5 * slow.value(LAGS)
    for decay in fit.decays.values():
        assert len(decay.weights) >= 2
        assert np.abs(decay.value(LAGS) - planted).max() < 0.12


def test_each_regime_has_its_own_shape_where_they_differ() -> None:
    drawn = desk()
    planted = {regime: Decay.from_half_life(half_life, scale_self=1 / 0.65, scale_cross=1 / 0.6)
               for regime, half_life in (("normal", 60.0), ("stressed", 8.0))}  # fmt: skip
    fit = refitted(redrawn(drawn, planted, noise=0.7))
    assert fit.status == "decays"
    assert set(fit.by_regime) == set(fit.decays) == set(drawn.models)
    for regime, decay in planted.items():
        found = fit.by_regime[regime].half_life_min
        assert found.low * 0.8 <= decay.half_life_min <= found.high * 1.25


def test_regimes_that_decay_alike_share_their_shape() -> None:
    fit = fit_decay(summed(), draws=20)
    assert not fit.by_regime
    assert len({decay.rates_per_min for decay in fit.decays.values()}) == 1


# -- sums ----------------------------------------------------------------------------------------


def test_sums_of_days_add_up_in_any_order_and_any_split() -> None:
    drawn, whole = desk(), summed()
    rates = rates_of(drawn.panel)
    days = [day_sums(day_of(drawn.panel, d), drawn.models, rates) for d in reversed(whole.dates)]
    again = DecaySums.of_days(rates, tuple(drawn.models), days)
    for name in ("gram", "xy", "yy", "pushed"):
        assert np.array_equal(getattr(again, name), getattr(whole, name))
    assert again.dates == whole.dates
    assert fit_decay(whole, draws=20) == fit_decay(again, draws=20)


def day_of(panel: Panel, date: str) -> Panel:
    return panel.where(panel.date == date)


def test_equal_seeds_give_equal_intervals_and_other_seeds_others() -> None:
    first, again, other = (fit_decay(summed(), draws=50, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.half_life_min.low != other.half_life_min.low


def test_a_date_twice_is_refused() -> None:
    drawn, rates = desk(), rates_of(desk().panel)
    day = day_sums(day_of(drawn.panel, summed().dates[0]), drawn.models, rates)
    with pytest.raises(EstimationError, match="2 days of 1 dates"):
        DecaySums.of_days(rates, tuple(drawn.models), [day, day])


def test_rates_between_the_grids_are_mixed_from_it() -> None:
    rates, lags = Rates(5.0, 390.0), 5.0 * np.arange(78)
    half_lives = np.geomspace(1.25, 390, 50)
    grid = np.append(np.inf, rates.half_lives_min)
    mixed = rates.mix(half_lives) @ 0.5 ** (lags / grid[:, None])
    assert np.abs(mixed - 0.5 ** (lags / half_lives[:, None])).max() < 4e-3
    assert np.array_equal(rates.mix(np.array(np.inf)), np.eye(len(grid))[0])


def test_state_changes_are_those_of_the_recursion() -> None:
    push, rates = np.random.default_rng(0).normal(size=(9, 2, 4)), Rates(5.0, 45.0)
    kept = np.append(1.0, 0.5 ** (5.0 / rates.half_lives_min))[:, None]
    changes, state = state_changes(push, rates), np.zeros((2, len(kept), 4))
    for change, new in zip(changes, push[:, :, None], strict=True):
        after = kept * state + new
        np.testing.assert_allclose(change, after - state, atol=1e-12)
        state = after


# -- carried -------------------------------------------------------------------------------------


def two_names(flows: np.ndarray) -> tuple[Panel, dict[str, ImpactModel]]:
    """The golden cases' desk: adv 1e8, beta 1000, gamma 500 both ways."""
    ts, date = calendar(len(flows))
    zero = np.zeros_like(flows)
    panel = Panel(
        ts, date, np.full(len(flows), "normal"), ("A", "B"), ("X", "X"), np.full(2, 1e8),
        flows, np.where(flows != 0, 0.0, np.nan), zero, zero, zero,
    )  # fmt: skip
    gamma = np.array([[0.0, 500.0], [500.0, 0.0]])
    model = ImpactModel(
        ("A", "B"), ("X", "X"), np.full(2, 1e8), "normal", np.zeros(2), np.full(2, 1e3), gamma
    )
    return panel, {"normal": model}


GOLDEN = np.array([[0.01, 0.01], [0.01, 0.0], [0.01, 0.0], [0.0, 0.0], [0.01, 0.0]])


@pytest.mark.parametrize(
    ("permanent", "own", "cross"),
    [
        (0.0, [0, 10, 15, 17.5, 8.75], [0, 5, 2.5, 1.25, 0.625]),
        (1.0, [0, 10, 20, 30, 30], [0, 5, 5, 5, 5]),
    ],
)
def test_carried_states_are_the_golden_ones(
    permanent: float, own: list[float], cross: list[float]
) -> None:
    panel, models = two_names(GOLDEN)
    decays = {"normal": Decay.from_half_life(5.0, permanent)}
    found = carried(panel, models, decays)
    np.testing.assert_allclose(found[0][:, 0], own)
    np.testing.assert_allclose(found[1][:, 0], cross)
    net = net_of_carried(panel, models, decays)
    fading = 0.5 * (1 - permanent) * (np.array(own) + cross)
    np.testing.assert_allclose(net.move[:, 0], fading)  # half of it is gone a bucket later
    average = (1 - 0.5 / np.log(2)) * (1 - permanent) * (np.array(own) + cross)
    traded = panel.q[:, 0] != 0
    np.testing.assert_allclose(net.s[traded, 0], average[traded])


def test_state_decays_over_the_time_of_a_missing_bucket() -> None:
    panel, models = two_names(GOLDEN)
    there = np.array([True, True, True, False, True])
    decays = {"normal": Decay.from_half_life(5.0)}
    whole, holed = carried(panel, models, decays), carried(panel.where(there), models, decays)
    np.testing.assert_allclose(holed[0], whole[0][there])


def test_net_of_what_is_carried_the_moves_show_their_own_buckets_push_alone() -> None:
    drawn = desk()
    net = net_of_carried(drawn.panel, drawn.models, kernels(drawn))
    curve = lag_curve(net, drawn.models, lags=6)
    assert np.all(np.abs(curve.own - drawn.decay.scale_self) < 4 * curve.own_se)
    assert np.all(np.abs(curve.cross - drawn.decay.scale_cross) < 4.5 * curve.cross_se)


def test_where_a_price_stood_still_is_told_from_what_was_seen() -> None:
    """Less what fades, a mid that ticks in few buckets is hardly ever exactly zero."""
    drawn = desk()
    ticks = 20 * np.round(drawn.panel.move / 20)
    panel = replace(drawn.panel, move=ticks)
    net = net_of_carried(panel, drawn.models, kernels(drawn))
    assert (ticks == 0).mean() > 0.4 > (net.move == 0).mean()
    rows = panel.date == panel.date[0]
    assert np.array_equal(net.where(rows).seen.move, ticks[rows])
    twice = net_of_carried(net, drawn.models, kernels(drawn))
    assert np.array_equal(twice.seen.move, ticks)
    found = refitted(panel)
    assert found.half_life_min.low < drawn.decay.half_life_min < found.half_life_min.high


def test_a_regime_without_a_kernel_carries_nothing() -> None:
    panel, models = two_names(GOLDEN)
    assert not np.any(carried(panel, models, {}))
    assert net_of_carried(panel, models, {}).move.tolist() == panel.move.tolist()


# -- the curve -----------------------------------------------------------------------------------


def test_the_lag_curve_agrees_with_the_planted_kernel() -> None:
    drawn = desk()
    curve = lag_curve(drawn.panel, drawn.models)
    left = drawn.decay.value(curve.lags_min)
    own = (curve.own - drawn.decay.scale_self * left) / curve.own_se
    cross = (curve.cross - drawn.decay.scale_cross * left) / curve.cross_se
    assert curve.lags_min.tolist() == [5.0 * lag for lag in range(25)]
    assert np.sqrt((own**2).mean()) < 2
    assert np.sqrt((cross**2).mean()) < 2.5


def test_a_lag_curve_needs_two_dates() -> None:
    drawn = desk()
    with pytest.raises(EstimationError, match="1 dates"):
        lag_curve(day_of(drawn.panel, summed().dates[0]), drawn.models)


# -- bad input -----------------------------------------------------------------------------------


def one_session(panel: Panel) -> Panel:
    return day_of(panel, summed().dates[0])


def no_flow(panel: Panel) -> Panel:
    return replace(panel, q=np.zeros_like(panel.q))


def flow_once(panel: Panel) -> Panel:
    rows = np.arange(len(panel.ts))[:, None] == 30
    return replace(panel, q=np.where(rows, panel.q, 0.0))


def constant_flow(panel: Panel) -> Panel:
    return replace(panel, q=np.full_like(panel.q, 1e-3), regime=np.full(len(panel.ts), "normal"))


def no_moves(panel: Panel) -> Panel:
    return replace(panel, move=np.full_like(panel.move, np.nan))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (one_session, "1 sessions with flow and moves, 5 needed"),
        (no_flow, "0 sessions with flow and moves"),
        (flow_once, "1 sessions with flow and moves"),
        (constant_flow, "flow is constant through each session"),
        (no_moves, "0 sessions with flow and moves"),
    ],
)
def test_what_cannot_tell_a_decay_says_so(spoil: Callable[[Panel], Panel], reason: str) -> None:
    fit = refitted(spoil(desk().panel))
    assert fit.status == "unknown"
    assert not fit.decays
    assert fit.reason.startswith(reason)


def test_halts_half_days_and_missing_buckets_leave_the_decay_what_it_is() -> None:
    panel = desk().panel
    bucket = np.arange(len(panel.ts)) % 78
    day = np.arange(len(panel.ts)) // 78
    halted = (day % 4 == 1) & (bucket >= 20) & (bucket < 26)  # all names: no flow, no move
    panel = replace(
        panel,
        q=np.where(halted[:, None], 0.0, panel.q),
        move=np.where(halted[:, None], 0.0, panel.move),
    )
    half_day, missing = (day == 3) & (bucket >= 40), (day % 3 == 0) & (bucket == 11)
    fit = refitted(panel.where(~half_day & ~missing))
    assert fit.status == "decays"
    assert 20 < fit.half_life_min.value < 42


def test_one_print_far_off_does_not_move_the_half_life() -> None:
    panel = desk().panel
    move = panel.move.copy()
    move[100, 3] = 4000.0
    assert refitted(replace(panel, move=move)).half_life_min.value == pytest.approx(
        fit_decay(summed()).half_life_min.value, rel=0.05
    )


def test_buckets_of_a_regime_without_a_model_are_left_out() -> None:
    drawn = desk()
    sums = decay_sums(drawn.panel, {"normal": drawn.models["normal"]})
    assert sums.regimes == ("normal",)
    fit = fit_decay(sums, draws=50)
    assert list(fit.decays) == ["normal"]
    assert 15 < fit.half_life_min.value < 60


def test_a_bucket_off_the_grid_is_refused() -> None:
    drawn = desk()
    ts = drawn.panel.ts.copy()
    ts[5] += np.timedelta64(60, "s")
    with pytest.raises(EstimationError, match="off the grid of 5 minutes"):
        decay_sums(replace(drawn.panel, ts=ts), drawn.models)


def test_models_of_other_symbols_are_refused() -> None:
    drawn = desk()
    panel = replace(drawn.panel, symbols=tuple(reversed(drawn.panel.symbols)))
    with pytest.raises(EstimationError, match="other symbols"):
        decay_sums(panel, drawn.models)


def test_a_panel_of_lone_buckets_is_refused() -> None:
    drawn = desk()
    lone = drawn.panel.where(np.arange(len(drawn.panel.ts)) % 78 == 0)
    with pytest.raises(EstimationError, match="no date has two buckets"):
        decay_sums(lone, drawn.models)


def test_a_day_of_no_known_move_adds_nothing() -> None:
    drawn = desk()
    day = no_moves(one_session(drawn.panel))
    sums: DaySums = day_sums(day, drawn.models, rates_of(day))
    assert not sums.gram.any()
    assert sums.yy == 0.0
