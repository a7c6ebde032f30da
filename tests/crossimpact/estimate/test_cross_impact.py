"""Cross impact: solvers optimal, planted edges recovered, silence where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossimpact.estimate.cross_impact import (
    L1_RATIO,
    Rows,
    _path,
    _symmetric_fit,
    build_rows,
    elastic_net_row,
    fit_cross,
)
from crossimpact.estimate.self_impact import fit_self

from .desk import draw


def rows_of(panel) -> Rows:
    return build_rows(panel, fit_self(panel))


def test_the_elastic_net_path_meets_its_kkt_conditions():
    gram = rows_of(draw()[0])
    G, c = gram.gram[0].sum(axis=0)[1:, 1:], gram.xy[0].sum(axis=0)[1:]
    scale = 1 / np.sqrt(np.diagonal(G))
    G, c = G * np.outer(scale, scale), c * scale
    lambdas = np.abs(c).max() / L1_RATIO * np.array([0.9, 0.3, 0.05])
    for b, lam in zip(_path(G, c, lambdas).T, lambdas, strict=True):
        gradient = c - G @ b - lam * (1 - L1_RATIO) * b
        active = b != 0
        np.testing.assert_allclose(
            gradient[active], lam * L1_RATIO * np.sign(b[active]), rtol=1e-3, atol=1e-3 * lam
        )
        assert (np.abs(gradient[~active]) <= lam * L1_RATIO * (1 + 1e-6)).all()


def test_the_symmetric_fit_solves_its_normal_equations():
    panel, truth = draw()
    rows = rows_of(panel)
    gram, xy = rows.gram.sum(axis=1), rows.xy.sum(axis=1)
    support = truth["M"] != 0
    estimate, se = _symmetric_fit(gram, xy, support)
    np.testing.assert_array_equal(estimate, estimate.T)
    assert not estimate[~support].any()
    left = xy - np.einsum("ijk,ik->ij", gram, estimate)
    assert np.abs((left + left.T)[support]).max() < 1e-6 * np.abs(xy).max()
    z = ((estimate - truth["M"]) / se)[np.triu(support, 1)]
    assert np.abs(z).max() < 4.5


def test_own_terms_are_partialled_out_exactly():
    """Adding any multiple of a row's own terms to its response leaves the row's equations alone."""
    panel, _ = draw(T=800)
    fit = fit_self(panel)
    shifted = replace(panel, s=panel.s + 7.0 + 900.0 * np.abs(panel.q))
    a, b = build_rows(panel, fit), build_rows(shifted, fit)
    np.testing.assert_allclose(a.xy, b.xy, atol=1e-7 * np.abs(a.xy).max())


@pytest.mark.parametrize("seed", [0, 1])
def test_blocks_and_the_planted_edge_are_found(seed):
    panel, truth = draw(seed, T=4000, confounded=True)
    fit = fit_cross(panel, fit_self(panel))
    planted, found = truth["M"] != 0, fit.scaled != 0
    assert found[0, -1] and fit.kept >= 1
    assert (found & planted).sum() / planted.sum() > 0.95
    assert (found & planted).sum() / found.sum() > 0.9
    error = np.linalg.norm(fit.scaled - truth["M"]) / np.linalg.norm(truth["M"])
    assert error < 0.35
    assert set(fit.blocks) == {"A|A", "B|B"}


def test_no_cross_impact_gives_no_edges():
    """The false discovery rate holds: pure noise around self impact leaves the matrix empty."""
    edges = []
    for seed in range(8):
        panel, truth = draw(seed, T=1500)
        clean = panel.s - np.sign(panel.q) * (panel.q @ truth["gamma"].T)
        silent = replace(panel, s=clean)
        edges.append(np.count_nonzero(fit_cross(silent, fit_self(silent)).scaled))
    assert sum(count > 0 for count in edges) <= 2


def test_symbol_order_does_not_matter():
    panel, _ = draw(T=1500)
    order = np.array([3, 0, 7, 1, 6, 2, 5, 4])
    shuffled = replace(
        panel,
        symbols=tuple(panel.symbols[i] for i in order),
        sectors=tuple(panel.sectors[i] for i in order),
        adv=panel.adv[order],
        **{
            name: getattr(panel, name)[:, order]
            for name in ("q", "s", "move", "sector_flow", "factor_flow")
        },
    )
    one = fit_cross(panel, fit_self(panel)).scaled
    other = fit_cross(shuffled, fit_self(shuffled)).scaled
    np.testing.assert_allclose(other, one[np.ix_(order, order)], rtol=1e-6, atol=1e-6)


def test_a_row_whose_flow_lies_in_one_fold_has_no_say():
    gram, xy = np.zeros((5, 3, 3)), np.zeros((5, 3))
    gram[2], xy[2] = np.diag([0.0, 4.0, 1.0]), [0.0, 3.0, 1.0]
    assert not elastic_net_row(gram, xy, np.zeros(3)).any()


def test_a_row_without_data_stays_empty():
    n = 4
    nothing = elastic_net_row(np.zeros((5, n, n)), np.zeros((5, n)), np.zeros(n))
    assert not nothing.any()
