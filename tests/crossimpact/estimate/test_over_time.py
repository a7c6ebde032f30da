"""A refit over time: what is taken out, what ships, and what is said of either."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from benchmarks.decaying_desks import DecayingDesk, draw
from crossimpact.estimate import over_time
from crossimpact.estimate.carried import net_of_carried
from crossimpact.estimate.day_bootstrap import Estimate
from crossimpact.estimate.decay import DecayFit
from crossimpact.estimate.held_out import open_held_out
from crossimpact.estimate.lag_curve import lag_curve
from crossimpact.estimate.over_time import Carryover
from crossimpact.estimate.self_impact import fit_self
from crossimpact.panel import Panel
from crossimpact.path_manipulation import path_certificate
from crossimpact.response import MOVES


@cache
def desk(half_life_min: float = 30.0) -> DecayingDesk:
    return draw(2, half_life_min=half_life_min, permanent=0.3, symbols=8, days=12)


def known(half_life: float) -> DecayFit:
    return DecayFit(
        "decays", "", half_life_min=Estimate(half_life, half_life - 5, half_life + 9),
        permanent=Estimate(0.3, 0.2, 0.4), scale_self={"normal": Estimate(1.5, 1.4, 1.6)},
        slope=Estimate(1.02, 0.9, 1.1), gain=0.01, gain_se=0.002, days=20,
    )  # fmt: skip


def short_sessions(panel: Panel, buckets: int) -> Panel:
    since = panel.ts - panel.ts.astype("datetime64[D]")
    return panel.where(since < since.min() + buckets * np.timedelta64(5, "m"))


def test_each_regime_reports_its_own_half_life_where_shapes_differ() -> None:
    both = replace(known(30), by_regime={"normal": known(20), "stressed": known(60)})
    for regime, half_life in (("normal", 20.0), ("stressed", 60.0)):
        told = over_time.metrics(both, regime)
        interval = [told[f"half_life_{end}"] for end in ("min", "lo", "hi")]
        assert interval == [half_life, half_life - 5, half_life + 9]
        assert told["decay_slope"] == 1.02
    shared = over_time.metrics(known(30), "stressed")
    assert shared["half_life_min"] == 30 and "scale_self" not in shared
    assert over_time.metrics(DecayFit("unknown", "why"), "normal") == {"decay_days": 0.0}


def test_what_decay_moved_is_the_size_of_the_estimates_after_over_before() -> None:
    before = desk().models["normal"]
    told = over_time.moved(before, before)
    assert told["gamma_by_decay"] == pytest.approx(1, abs=0.02)  # the rules change planted little
    assert told["beta_by_decay"] == 1
    grown = replace(before, gamma=1.2 * before.gamma, beta=0.9 * before.beta)
    more = over_time.moved(before, grown)
    assert more["gamma_by_decay"] == pytest.approx(1.2 * told["gamma_by_decay"])
    assert more["beta_by_decay"] == pytest.approx(0.9)
    halved = replace(
        grown, gamma=0.5 * grown.gamma, provenance={"out_of_sample_size": 0.5}
    )  # a size chosen out of sample is no decay's
    assert over_time.moved(before, halved)["gamma_by_decay"] == pytest.approx(
        more["gamma_by_decay"]
    )
    assert "gamma_by_decay" not in over_time.moved(before.self_only(), grown)


def test_what_does_not_fade_leaves_the_buckets_as_they_are() -> None:
    panel = desk().panel
    stays = Carryover(desk().models, DecayFit("permanent", "", {"normal": desk().decay}))
    assert stays.net(panel) is panel
    fades = Carryover(desk().models, replace(known(30), decays=dict.fromkeys(
        desk().models, desk().decay)))  # fmt: skip
    assert np.abs(fades.net(panel).move - panel.move).max() > 1


def test_thin_data_leave_the_models_without_a_kernel_and_say_why() -> None:
    panel = desk().panel
    one = panel.where(panel.date == panel.date[0])
    found = over_time.first_look(one)
    assert found.fit.status == "unknown" and found.fit.reason
    assert found.net(one) is one
    assert over_time.decay_of(panel, {}).reason == "no regime could be fitted"
    models, borne = over_time.with_kernel({"full": desk().models["normal"]}, None)
    assert (models["full"], borne) == (desk().models["normal"], 1.0)


@pytest.mark.parametrize("scale", [1.7, 2.5])
def test_a_kernel_beyond_what_is_admissible_is_cut_until_no_round_trip_pays(scale: float) -> None:
    bare = {
        rung: replace(model, kernel=None)
        for rung, model in (
            ("full", desk().models["normal"]), ("self_only", desk().models["normal"].self_only()),
        )
    }  # fmt: skip
    decay = replace(desk().decay, scale_self=scale, scale_cross=1.2 * scale)
    timed, borne = over_time.with_kernel(bare, decay)
    assert 0 < borne <= 1
    for rung, model in timed.items():
        assert model.kernel is not None and path_certificate(model).admissible
        assert model.kernel.scale_self <= decay.largest_scale
        np.testing.assert_allclose(model.gamma, borne * bare[rung].gamma)


def test_a_half_life_beyond_the_session_is_not_told_from_what_stays() -> None:
    found = over_time.decay_of(desk(5000.0).panel, desk(5000.0).models)
    assert found.status == "permanent" and found.reason.startswith("not separable from permanent")
    assert {decay.half_life_min for decay in found.decays.values()} == {np.inf}


def test_a_half_life_at_the_searchs_edge_is_said_to_be_shorter() -> None:
    """A minute's half-life and a fifth of one look alike from bucket to bucket."""
    found = over_time.decay_of(desk(0.2).panel, desk(0.2).models)
    assert found.status == "decays" and found.half_life_min.value <= 1.27
    assert found.reason.endswith("search's edge and is at most 1.25 minutes")
    assert found.permanent.low < 0.3 < found.permanent.high


def test_sessions_shorter_than_the_lag_curve_have_a_shorter_one_and_tell_no_decay() -> None:
    panel = short_sessions(desk().panel, 6)
    curve = lag_curve(panel, desk().models, lags=24)
    assert curve.lags_min.tolist() == [0, 5, 10, 15, 20, 25]
    assert np.isfinite(curve.own).all() and (curve.own_se > 0).all()
    found = over_time.decay_of(panel, desk().models)
    assert found.status == "unknown" and not found.decays
    assert found.reason.startswith("too few or too noisy days to tell: the mid keeps")


def test_a_price_that_seldom_ticks_keeps_its_beta_net_of_what_earlier_buckets_left() -> None:
    """Net of it no bucket's move is exactly zero: read off those, every tick was an outlier."""
    desk = draw(5, half_life_min=30.0, permanent=0.3, symbols=8, days=30)
    still = np.random.default_rng(5).random(len(desk.panel.ts)) < 0.7
    panel = replace(desk.panel, move=desk.panel.move.copy())
    panel.move[still, 0] = 0.0
    net = net_of_carried(panel, desk.models, {r: m.kernel for r, m in desk.models.items()})
    rows = panel.regime == "normal"
    seen, left = (fit_self(p.where(rows), response=MOVES) for p in (panel, net))
    assert left.beta[0] > 0.8 * seen.beta[0]
    held = [open_held_out(desk.models["normal"], p.where(rows)) for p in (panel, net)]
    assert held[1].noise[0] == pytest.approx(held[0].noise[0], rel=0.05)
