"""A week net of own terms: what is the names' own leaves no trace, and slopes are what they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from benchmarks.decaying_desks import draw as decaying
from crossimpact.drift.calibration import move_slope
from crossimpact.estimate.bucket_costs import bucket_cross
from crossimpact.estimate.carried import net_of_carried
from crossimpact.estimate.held_out import open_held_out, pooled_slope
from crossimpact.estimate.refit import fit_regime
from crossimpact.model import Array, ImpactModel, from_scaled, to_scaled
from crossimpact.panel import Panel
from crossimpact.response import Response
from crossimpact.slope import between_days, through_origin
from tests.crossimpact.estimate.desk import draw, without_cross


def champion(panel: Panel, truth: dict[str, Array]) -> ImpactModel:
    return ImpactModel(
        panel.symbols, panel.sectors, panel.adv, "normal",
        truth["alpha"], truth["beta"], truth["gamma"],
    )  # fmt: skip


def moved(panel: Panel, extra: Array) -> Panel:
    """The same desk, had prices moved `extra` bps more."""
    return replace(panel, move=panel.move + extra, s=panel.s + np.sign(panel.q) * extra)


def slope_of(model: ImpactModel, panel: Panel) -> float:
    found = move_slope(open_held_out(model, panel), np.zeros_like(model.gamma))
    assert found is not None
    return found[0].value


@pytest.mark.parametrize("seed", range(3))
def test_own_terms_leave_no_trace(seed):
    """Self impact, spread and the peers' push may all be another week's."""
    panel, truth = draw(seed, T=390, confounded=True)
    model, rng = champion(panel, truth), np.random.default_rng(seed)
    other = rng.normal(0, 900, panel.n) * panel.q + rng.normal(0, 2, panel.n) * np.sign(panel.q)
    before, after = open_held_out(model, panel), open_held_out(model, moved(panel, other))
    np.testing.assert_allclose(after.left, before.left, atol=1e-6 * np.abs(before.left).max())
    own = np.stack([panel.q, np.sign(panel.q), panel.sector_flow], axis=2)
    for part in (before.left, before.cross):
        assert np.abs(np.einsum("tik,ti->ik", own, part)).max() < 1e-6 * np.abs(part).sum()


def test_unknown_cells_say_nothing():
    panel, truth = draw(1, T=390)
    gone = replace(panel, move=panel.move.copy(), s=panel.s.copy())
    gone.move[:50, 2], gone.s[:50, 2], gone.move[:, 5], gone.s[:, 5] = (np.nan,) * 4
    week = open_held_out(champion(panel, truth), gone)
    assert not week.left[:50, 2].any() and not week.cross[:50, 2].any()
    assert week.noise[5] == 0 and (week.noise[[0, 1, 2, 3, 4, 6, 7]] > 0).all()


@pytest.mark.parametrize("factor", [1.0, 0.5, -1.0])
@pytest.mark.parametrize("transform", ["linear", "sqrt"])
def test_slopes_of_a_noiseless_desk_are_what_gamma_became(factor, transform):
    panel, truth = draw(T=390, noise=0.0, fill=0.0)
    reference = np.full(panel.n, 1e-3)
    model = replace(champion(panel, truth), transform=transform, reference=reference)
    move = model.self_bps(panel.q) + factor * model.cross_bps(panel.q)
    paid = truth["alpha"] + np.sign(panel.q) * move
    panel = replace(panel, move=move, s=np.where(panel.q != 0, paid, np.nan))
    predicted, realized = bucket_cross(model, panel)
    np.testing.assert_allclose(realized, factor * predicted, atol=1e-9)
    if factor != 1:  # without noise nothing is left of the true model, and nothing to weigh by
        assert slope_of(model, panel) == pytest.approx(factor, abs=0.02)


def test_peer_flow_is_not_taken_for_cross_impact():
    """Herding moves prices with the desk's own flow; the fitted controls take that out."""
    panel, _ = draw(5, T=2500, confounded=True)
    found = fit_regime(panel, "normal").model
    assert found is not None
    seen = through_origin(*bucket_cross(found, panel))
    blind = replace(found, provenance={})
    assert abs(seen.value - 1) < 3 * seen.se
    assert through_origin(*bucket_cross(blind, panel)).value > seen.value + 3 * seen.se


def test_the_slope_is_least_squares_and_its_error_lies_between_days_and_buckets():
    rng = np.random.default_rng(0)
    x, date = rng.normal(size=390), np.repeat([f"2026-03-0{d}" for d in range(2, 7)], 78)
    y = 0.7 * x + rng.normal(size=390)
    found = between_days(x**2, x * y, date)
    assert found is not None
    assert found.value == pytest.approx(np.linalg.lstsq(x[:, None], y, rcond=None)[0][0])
    left = x * (y - found.value * x)
    by_bucket = (left**2).sum() * 390 / 386
    by_day = (left.reshape(5, 78).sum(axis=1) ** 2).sum() * 5 / 4
    low, high = np.sqrt(sorted([by_bucket, by_day])) / (x @ x)
    assert low < found.se < high and found.df == 8


def test_p_values_hold_when_buckets_of_a_day_go_together():
    """Fat tails, and day effects that add half to the variance of a day of independent buckets."""
    rng = np.random.default_rng(3)
    weeks, date, hits = 600, np.repeat(list("abcde"), 78), 0
    for _ in range(weeks):
        x = rng.normal(size=390)
        score = x**2 + x * rng.standard_t(3, 390) / np.sqrt(3)
        score += np.repeat(np.sqrt(0.5 / 78) * rng.normal(size=5), 78)
        found = between_days(x**2, score, date)
        assert found is not None
        hits += found.p_outside(1, 1) < 0.05
    assert binomtest(hits, weeks, 0.05, alternative="greater").pvalue > 0.01


@pytest.mark.parametrize(("days", "buckets"), [(5, 60), (4, 20)])
def test_a_slope_of_zero_is_rarely_called_negative(days, buckets):
    """With four clusters a bound by normal theory, or by the days alone, lies three to seven times
    as often (benchmarks/slope_size.py)."""
    rng = np.random.default_rng([days, buckets])
    weeks, level, date = 2000, 0.005, np.repeat(np.arange(days).astype(str), buckets)
    hits = 0
    for _ in range(weeks):
        x = np.exp(0.8 * rng.normal(size=len(date))) * rng.integers(-1, 2, len(date))
        found = between_days(x**2, x * rng.normal(size=len(date)), date)
        assert found is not None
        hits += found.upper(1 - level) < 0
        assert (found.upper(1 - level) < 0) == (found.p_below(0.0) < level)
    assert binomtest(hits, weeks, 1.5 * level, alternative="greater").pvalue > 0.01


def test_what_the_champion_may_be_off_is_what_its_errors_make():
    """The slope's doubt, against slopes of champions drawn with those errors."""
    panel, truth = draw(4, T=390, noise=1e-3, fill=0.0)
    gamma_se = 0.2 * np.abs(truth["M"]) + 60
    rng, slopes = np.random.default_rng(0), []
    for _ in range(150):
        error = np.triu(rng.normal(size=gamma_se.shape) * gamma_se, 1)
        extra = panel.q @ from_scaled(error + error.T, panel.adv).T
        noisy = moved(panel, extra + rng.normal(0, 8, panel.q.shape))
        week = open_held_out(champion(panel, truth), noisy)
        found = move_slope(week, gamma_se)
        assert found is not None
        slopes.append((found[0].value, found[0].se, found[1]))
    value, se, doubted = np.array(slopes).T
    expected = np.sqrt((se**2).mean() + (doubted**2).mean())
    assert 0.8 < value.std() / expected < 1.25
    assert abs(value.mean() - 1) < 4 * value.std() / np.sqrt(len(value))
    assert np.abs(to_scaled(truth["gamma"], panel.adv) - truth["M"]).max() < 1e-6


def test_nothing_predicted_has_no_slope():
    panel, truth = draw(3, T=390)
    model = champion(panel, truth).self_only()
    assert move_slope(open_held_out(model, panel), np.zeros_like(model.gamma)) is None
    idle = replace(panel, q=np.zeros_like(panel.q), s=np.full_like(panel.s, np.nan))
    assert move_slope(open_held_out(champion(panel, truth), idle), np.zeros((8, 8))) is None


def test_moves_tell_a_changed_gamma_more_surely_than_costs():
    panel, truth = draw(7, T=390)
    week = without_cross(panel, truth, 0.5)
    model = champion(panel, truth)
    predicted, realized = bucket_cross(model, week)
    traded = (np.isfinite(week.s) & (week.q != 0)).any(axis=1)
    cost = between_days(predicted**2, predicted * realized, week.date[traded])
    moves = move_slope(open_held_out(model, week), np.zeros((8, 8)))
    assert cost is not None and moves is not None
    assert moves[0].se < cost.se
    assert abs(moves[0].value - 0.5) < 3.5 * moves[0].se


def test_regimes_together_have_the_slope_of_their_sums():
    panel, truth = draw(4, T=780)
    half = replace(panel, regime=np.where(np.arange(len(panel.ts)) % 3, "normal", "stressed"))
    model = champion(panel, truth)
    models = {regime: replace(model, regime=regime) for regime in ("normal", "stressed")}
    apart = [open_held_out(models[r], half.of_regime(r)) for r in models]
    found = pooled_slope(models, half, {})
    assert found is not None and found.n == len(half.ts)
    sums = np.sum([[part.sum() for part in one.calibration()] for one in apart], axis=0)
    assert found.value == pytest.approx(sums[1] / sums[0])
    assert pooled_slope({"normal": models["normal"].self_only()}, half, {}) is None
    assert pooled_slope(models, half.where(half.date == ""), {}) is None


def test_a_few_large_cells_and_the_peers_do_not_own_the_slope():
    """In dollars the wild buckets and the peers' flow would be most of it."""
    panel, truth = draw(5, T=1560, confounded=True)
    model = champion(panel, truth)
    usual = pooled_slope({"normal": model}, panel, {})
    assert usual is not None and abs(usual.value - 1) < 3 * usual.se
    wild = replace(panel, move=panel.move.copy())
    rng = np.random.default_rng(1)
    rows = rng.choice(len(panel.ts), 8, replace=False)
    wild.move[rows, 0] += 500 * np.sign(model.cross_bps(panel.q)[rows, 0])
    found = pooled_slope({"normal": model}, wild, {})
    assert found is not None and abs(found.value - usual.value) < 1.5 * usual.se


@pytest.mark.parametrize("factor", [1.0, 0.0], ids=["as predicted", "gone"])
def test_couplings_that_are_gone_are_not_seen_in_what_a_panel_is_net_of(factor):
    """The champion's own carried impact, taken out of the week, is no evidence for it: flow goes on
    from bucket to bucket, so what fades of the pushes looks like the couplings themselves."""
    world = {"half_life_min": 30.0, "permanent": 0.3, "symbols": 8, "days": 12}
    champions = decaying(2, cross_share=0.1, **world).models
    week = decaying(2, cross_share=0.1 * factor, **world).panel  # equal seeds: equal flows, noise
    kernels = {regime: model.kernel for regime, model in champions.items()}
    net = net_of_carried(week, champions, kernels)
    kept = kernels["normal"].scale_cross
    slope = pooled_slope(champions, net, {r: Response(cross=1 / kept) for r in champions})
    assert abs(slope.value - factor) < 3 * slope.se < 0.3
    naive = pooled_slope(
        champions, replace(net, net_of_own=None), {r: Response(cross=1 / kept) for r in champions}
    )
    assert factor == 1 or naive.value > 3 * naive.se  # what it would have said
