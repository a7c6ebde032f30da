"""Bad input: a named error or the next rung with its reason, and finite numbers only."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from crossimpact.errors import EstimationError
from crossimpact.estimate.refit import RegimeFit, fit_regime
from crossimpact.ladder import FITTED
from crossimpact.model import to_scaled
from crossimpact.panel import MAX_BPS, MAX_FLOW, Panel

from .desk import CELLS, draw, permuted, with_cells

FIRST = slice(None)
NOT_PREDICTED = {"oos_slope", "oos_slope_se"}  # NaN says that no cross cost was predicted


@pytest.fixture(autouse=True)
def _no_warning_is_silent() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(all="warn", under="ignore"):
        warnings.simplefilter("error")
        yield


@pytest.fixture(scope="module")
def desk() -> Panel:
    return draw(T=700)[0]


@pytest.fixture(scope="module")
def clean(desk: Panel) -> RegimeFit:
    return fit_regime(desk, "normal")


def fit(panel: Panel, regime: str = "normal") -> RegimeFit:
    """The fit, after checks that hold whatever came in."""
    found = fit_regime(panel, regime)
    assert bool(found.reason) == (found.rung != "full")
    assert {k for k, v in found.metrics.items() if not np.isfinite(v)} <= NOT_PREDICTED
    if found.model is None:
        assert found.rung == "fixed_pov"
        return found
    assert set(found.candidates) == set(FITTED)
    for model in found.candidates.values():
        scaled = model.scaled
        np.testing.assert_allclose(scaled, scaled.T, rtol=1e-9)
        assert np.isfinite(model.alpha).all() and np.isfinite(scaled).all()
        assert np.linalg.eigvalsh(scaled)[0] > 0
    return found


def distance(a: RegimeFit, b: RegimeFit) -> float:
    """Of two models' couplings, relative."""
    A, B = (to_scaled(f.model.gamma, f.model.adv) for f in (a, b))
    return float(np.linalg.norm(A - B) / np.linalg.norm(B))


# -- nothing to estimate from ------------------------------------------------------------------


@pytest.mark.parametrize("marks", [True, False], ids=["no fills", "prices of fills without a size"])
def test_all_zero_flow_is_answered_by_fixed_pov(desk, marks):
    s = np.full_like(desk.s, np.nan) if marks else desk.s
    found = fit(replace(desk, q=np.zeros_like(desk.q), s=s))
    assert found.rung == "fixed_pov" and "30 executed buckets (the most is 0)" in found.reason


def test_one_symbol_is_self_only():
    found = fit(draw(T=700, n=1)[0])
    assert found.rung == "self_only" and found.model.gamma.shape == (1, 1)


def test_the_regime_that_never_came_is_answered_by_fixed_pov(desk):
    assert fit(desk, "stressed").reason == "0 stressed buckets, 60 needed"


def test_a_single_date_holds_nothing_out(desk):
    found = fit(desk.where(desk.date == desk.date[0]))
    assert found.rung == "self_only" and "too few days to hold any out" in found.reason
    assert found.metrics["oos_r2_shipped"] == 0.0


def test_fewer_buckets_than_symbols():
    found = fit(draw(1, T=62, n=66)[0])
    assert found.rung == "self_only" and "too few days" in found.reason


def test_one_size_in_every_bucket_tells_nothing_of_impact(desk):
    found = fit(replace(desk, q=np.full_like(desk.q, 1e-3)))
    assert found.rung == "fixed_pov" and "one size only" in found.reason


def test_books_that_never_move_leave_the_fills_to_fit_self_impact(desk):
    still = np.zeros_like(desk.move)
    found = fit(replace(desk, move=still))
    assert found.rung == "self_only" and found.model.beta.min() > 500
    flat = fit(replace(desk, move=still, s=np.where(desk.q != 0, 1.0, np.nan)))
    assert flat.rung == "fixed_pov" and "no symbol's price moves" in flat.reason


# -- symbols of which little is known ----------------------------------------------------------


def test_a_symbol_that_never_trades_takes_its_sectors_beta(desk):
    found = fit(with_cells(desk, q=((FIRST, 2), 0.0), s=((FIRST, 2), np.nan)))
    assert found.model.provenance["self_source"] == {"S2": "sector"}


def test_a_symbol_whose_price_never_moves_says_nothing_of_the_others(desk, clean):
    found = fit(with_cells(desk, move=((FIRST, 2), 0.0)))
    others = np.arange(desk.n) != 2
    A, B = (to_scaled(f.model.gamma, f.model.adv)[np.ix_(others, others)] for f in (found, clean))
    assert np.linalg.norm(A - B) < 0.15 * np.linalg.norm(B)


def test_a_symbol_without_a_book_is_read_from_its_fills(desk):
    found = fit(with_cells(desk, move=((FIRST, 2), np.nan)))
    assert found.model.beta[2] > 500 and "S2" not in found.model.provenance["self_source"]


def test_constant_columns_are_no_controls(desk, clean):
    constant = replace(
        desk,
        sector_flow=np.full_like(desk.q, 1e-3),
        factor_flow=np.full_like(desk.q, -2.0),
    )
    assert distance(fit(constant), clean) < 0.1
    found = fit(with_cells(desk, q=((FIRST, 2), 1e-3)))
    assert found.model.provenance["self_source"] == {"S2": "sector"}


def test_two_names_of_one_symbol_share_its_couplings(desk):
    """Swapping identical columns changes labels only, so the model has to be the same swapped."""
    twice = replace(
        desk,
        symbols=(*desk.symbols, "TWIN"),
        sectors=(*desk.sectors, desk.sectors[1]),
        adv=np.append(desk.adv, desk.adv[1]),
        **{name: np.c_[getattr(desk, name), getattr(desk, name)[:, 1]] for name in CELLS},
    )
    model = fit(twice).model
    scaled = model.scaled
    swap = np.array([0, 8, 2, 3, 4, 5, 6, 7, 1])
    np.testing.assert_allclose(scaled, scaled[np.ix_(swap, swap)], atol=1e-3 * np.abs(scaled).max())
    assert abs(model.alpha[1] - model.alpha[8]) < 1e-6
    other = fit(permuted(twice, swap)).model
    np.testing.assert_allclose(
        other.scaled, scaled[np.ix_(swap, swap)], atol=1e-3 * np.abs(scaled).max()
    )


# -- cells that are no numbers, or impossible ones ---------------------------------------------


@pytest.mark.parametrize("value", [1e12, -1e12, np.inf, np.nan])
@pytest.mark.parametrize("name", CELLS)
def test_one_impossible_cell_is_left_out_and_counted(desk, name, value):
    at = int(np.flatnonzero(desk.q[:, 0])[7])
    kept, left_out = with_cells(desk, **{name: ((at, 0), value)}).plausible()
    absent = np.isnan(value) and name in ("s", "move")
    assert left_out == (0 if absent else 1)
    if absent:
        return
    assert np.isnan(kept.s[at, 0]) and np.isnan(kept.move[at, 0])
    assert kept.q[at, 0] == (0.0 if name == "q" else desk.q[at, 0])
    rest = np.ones(desk.q.shape, dtype=bool)
    rest[at, 0] = False
    for cell in CELLS:
        np.testing.assert_array_equal(getattr(kept, cell)[rest], getattr(desk, cell)[rest])
        if cell not in ("s", "move"):
            assert np.isfinite(getattr(kept, cell)).all()


def test_possible_cells_are_all_kept(desk):
    most = with_cells(desk, q=((3, 1), MAX_FLOW), s=((4, 1), -MAX_BPS), move=((5, 1), MAX_BPS))
    same, left_out = most.plausible()
    assert same is most and left_out == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("q", 1e12), ("s", 1e12), ("move", -1e12), ("sector_flow", 1e12), ("factor_flow", np.nan),
     ("q", np.nan), ("s", np.nan), ("move", np.nan)],
)  # fmt: skip
def test_the_model_barely_changes_for_one_bad_cell(desk, clean, name, value):
    at = int(np.flatnonzero(desk.q[:, 0])[7])
    found = fit(with_cells(desk, **{name: ((at, 0), value)}))
    assert found.rung == clean.rung
    assert found.metrics["cells_left_out"] == float(not (np.isnan(value) and name in ("s", "move")))
    assert distance(found, clean) < 0.03
    np.testing.assert_allclose(found.model.beta, clean.model.beta, rtol=0.03)
    assert np.abs(found.model.alpha - clean.model.alpha).max() < 0.1


def test_many_bad_cells_are_counted_and_the_rest_is_fitted(desk, clean):
    rng = np.random.default_rng(0)
    bad = rng.random(desk.q.shape) < 0.02
    found = fit(with_cells(desk, q=(bad, np.nan), s=(bad, 1e12)))
    assert found.metrics["cells_left_out"] == bad.sum()
    assert found.rung == clean.rung and distance(found, clean) < 0.15


@pytest.mark.parametrize("value", [np.nan, 0.0, -1.0, np.inf])
def test_an_adv_that_is_no_positive_number_is_named(desk, value):
    adv = desk.adv.copy()
    adv[3] = value
    with pytest.raises(EstimationError, match=r"ADV of S3 is .*, must be > 0"):
        fit_regime(replace(desk, adv=adv), "normal")


def test_half_the_panel_missing_is_no_error(desk):
    """Books and fills that are not there: sums are scaled by what is known."""
    rng = np.random.default_rng(1)
    found = fit(with_cells(desk, move=(rng.random(desk.q.shape) < 0.5, np.nan)))
    assert found.rung in FITTED and found.metrics["cells_left_out"] == 0
    everything = with_cells(desk, move=(FIRST, np.nan))
    assert fit(everything).rung == "self_only"


# -- fills and windows that tell little --------------------------------------------------------


def test_fills_before_all_of_the_move_pay_none_of_it_and_gamma_says_so(desk):
    """All fills in the first second of a bucket: they pay the spread, the mid moves after them."""
    rng = np.random.default_rng(2)
    first = np.where(desk.q != 0, 1.0 + rng.normal(size=desk.q.shape), np.nan)
    found = fit(replace(desk, s=first))
    ratio = found.model.provenance["fill_ratio"] if found.model else {}
    assert all(part["value"] <= 0.15 for part in ratio.values())
    typical = np.abs(desk.q).mean()
    assert found.model is None or (found.model.beta * typical < 1.0).all()


def test_stale_mids_while_fills_come_leave_the_ratio_unknown(desk):
    """No book moves, or none is known: nothing tells what fills pay of the mid."""
    for mids in (np.zeros_like(desk.move), np.full_like(desk.move, np.nan)):
        found = fit(replace(desk, move=mids))
        assert found.rung == "self_only"
        ratio = found.model.provenance["fill_ratio"]
        assert {part["source"] for part in ratio.values()} == {"unknown"}


def test_a_desk_without_an_untraded_cell_is_fitted():
    found = fit(draw(3, T=700, active=1.1)[0])
    assert found.rung in FITTED


def test_ten_days_are_enough_to_be_judged():
    panel, truth = draw(4, T=780, noise=4.0)
    found = fit(panel)
    assert found.metrics["oos_blocks"] > 0 and found.metrics["break_p"] > 0
    scaled = to_scaled(found.model.gamma, panel.adv)
    assert np.linalg.norm(scaled - truth["M"]) < np.linalg.norm(truth["M"])


@pytest.mark.parametrize("early", [True, False], ids=["stops", "starts"])
def test_a_name_that_starts_or_stops_trading_leaves_the_others_alone(early):
    desk = draw(T=700, noise=2.0)[0]
    days = np.unique(desk.date)
    gone = desk.date >= days[4] if early else desk.date < days[4]
    empty = {"q": 0.0, "s": np.nan, "move": np.nan}
    part = with_cells(desk, **{name: ((gone, 2), value) for name, value in empty.items()})
    others = np.delete(np.arange(desk.n), 2)
    A, B = (fit(panel).candidates["full"] for panel in (part, desk))
    A, B = (to_scaled(model.gamma, model.adv)[np.ix_(others, others)] for model in (A, B))
    assert np.linalg.norm(A - B) < 0.2 * np.linalg.norm(B)
