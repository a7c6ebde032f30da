"""What is only a convention changes no model: currency, order, labels, sides, unit of ADV."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossimpact.estimate.refit import RegimeFit, fit_regime
from crossimpact.model import ImpactModel
from crossimpact.panel import Panel

from .desk import CELLS, draw, permuted, spread_sizes

VECTORS = ("alpha", "beta", "alpha_se", "beta_se")
TINY = 1e-6


@pytest.fixture(scope="module", params=["linear", "sqrt"])
def transform(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def desk(transform) -> Panel:
    linear = transform == "linear"
    return (draw(2, T=1200, confounded=True) if linear else spread_sizes(2, 0.5))[0]


@pytest.fixture(scope="module")
def found(desk, transform) -> RegimeFit:
    fit = fit_regime(desk, "normal")
    assert fit.rung == "full" and fit.model.edges > 10 and fit.model.transform == transform
    return fit


def assert_same(a: ImpactModel, b: ImpactModel, tolerance: float = TINY) -> None:
    """Equal models, standard errors and supports included."""
    assert (a.symbols, a.transform) == (b.symbols, b.transform)
    for name in (*VECTORS, "gamma", "gamma_se"):
        x, y = getattr(a, name), getattr(b, name)
        np.testing.assert_array_equal(np.isnan(x), np.isnan(y))
        size = np.abs(np.nan_to_num(y)).max()
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * size)


def assert_same_verdict(a: RegimeFit, b: RegimeFit) -> None:
    assert (a.rung, a.reason) == (b.rung, b.reason)
    for name, value in a.metrics.items():
        assert b.metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-5, nan_ok=True), name


@pytest.mark.parametrize("rate", [0.011, 147.0])
def test_the_currency_of_notionals(desk, found, rate):
    """gamma and beta are bps per fraction of ADV: in yen they are what they are in dollars."""
    other = fit_regime(replace(desk, adv=desk.adv * rate), "normal")
    assert_same(replace(other.model, adv=found.model.adv), found.model)
    assert_same_verdict(other, found)
    in_dollars = (model.gamma / model.adv for model in (other.model, found.model))
    np.testing.assert_allclose(next(in_dollars) * rate, next(in_dollars))


def test_the_order_of_names(desk, found):
    order = np.array([3, 0, 7, 1, 6, 2, 5, 4])
    other = fit_regime(permuted(desk, order), "normal").model
    back = np.argsort(order)
    assert other.symbols == tuple(desk.symbols[i] for i in order)
    size = np.abs(found.model.gamma).max()
    np.testing.assert_allclose(other.gamma[np.ix_(back, back)], found.model.gamma, atol=5e-3 * size)
    np.testing.assert_allclose(other.beta[back], found.model.beta, rtol=5e-3)
    np.testing.assert_allclose(other.alpha[back], found.model.alpha, atol=0.02)


def test_names_of_sectors_and_symbols(desk, found):
    """Sectors that sort the other way round, symbols under other tickers of the same order."""
    label = {"A": "utilities", "B": "banks"}
    other = fit_regime(
        replace(
            desk,
            sectors=tuple(label[s] for s in desk.sectors),
            symbols=tuple(f"X.{s}" for s in desk.symbols),
        ),
        "normal",
    )
    assert_same(replace(other.model, symbols=desk.symbols), found.model)
    assert_same_verdict(other, found)


def test_sides(desk, found):
    """Buying for selling, prices mirrored: slippage is a cost on either side."""
    turned = {name: -getattr(desk, name) for name in CELLS if name != "s"}
    other = fit_regime(replace(desk, **turned), "normal")
    assert_same(other.model, found.model)
    assert_same_verdict(other, found)


@pytest.mark.parametrize("c", [0.25, 3.0])
def test_the_unit_of_adv(desk, found, c):
    """Flows `c` times as large in units of ADV, and all that is per unit of ADV `c` times less.

    Own and peer flows alike, and an ADV that much smaller, so that notionals stay."""
    flows = {name: c * getattr(desk, name) for name in ("q", "sector_flow", "factor_flow")}
    other = fit_regime(replace(desk, adv=desk.adv / c, **flows), "normal")
    model = other.model
    scaled = {name: c * getattr(model, name) for name in ("beta", "gamma", "beta_se", "gamma_se")}
    assert_same(replace(model, adv=desk.adv, **scaled), found.model)
    assert_same_verdict(other, found)
    unit = c if model.transform == "sqrt" else 1.0
    np.testing.assert_allclose(model.reference, unit * found.model.reference)


def test_time_is_only_an_order(desk, found):
    """A year later, under later dates."""
    year = np.timedelta64(365, "D")
    dates = np.array([str(np.datetime64(d) + year) for d in desk.date])
    later = replace(desk, ts=desk.ts + year, date=dates)
    assert fit_regime(later, "normal").model.digest == found.model.digest
