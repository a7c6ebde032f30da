"""Figures of the model card: repeatable pictures of the numbers, whatever their order and size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossimpact.model import ImpactModel, from_scaled
from pipelines.pages import figures
from tests.pipelines.tca_desk import model

HOSTILE = '<script>alert("x")</script>&$x_1$'


def png_size(content: bytes) -> tuple[int, int]:
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(content[16:20]), int.from_bytes(content[20:24])


def coupled(n: int, sectors: int, share: float, seed: int = 3) -> ImpactModel:
    """Names over sectors with `share` of the pairs coupled, some of them helping."""
    rng = np.random.default_rng(seed)
    M = np.triu(rng.normal(0, 300, (n, n)) * (rng.random((n, n)) < share), 1)
    adv = np.exp(rng.normal(17, 1, n))
    return ImpactModel(
        symbols=tuple(f"N{i:03d}" for i in range(n)),
        sectors=tuple(f"sector {i % sectors}" for i in range(n)),
        adv=adv,
        regime="normal",
        alpha=np.ones(n),
        beta=np.full(n, 3000.0),
        gamma=from_scaled(M + M.T, adv),
    )


def turned(straight: ImpactModel) -> ImpactModel:
    """The same model, its names in the other order."""
    return ImpactModel(
        symbols=straight.symbols[::-1],
        sectors=straight.sectors[::-1],
        adv=straight.adv[::-1],
        regime=straight.regime,
        alpha=straight.alpha[::-1],
        beta=straight.beta[::-1],
        gamma=straight.gamma[::-1, ::-1],
    )


DRAWINGS = pytest.mark.parametrize("draw", [figures.heatmap, figures.network])


@DRAWINGS
@pytest.mark.parametrize("gamma", [0.0, 50.0])
def test_a_matrix_is_a_repeatable_picture(draw, gamma):
    drawn = model(gamma=gamma, sectors=("tech", HOSTILE, "tech"))
    assert min(png_size(draw(drawn))) > 400
    assert draw(drawn) == draw(drawn)


@DRAWINGS
def test_a_picture_shows_the_numbers_not_their_order(draw):
    straight = model(symbols=("AAA", "BBB", "CCC"))
    assert draw(straight) == draw(turned(straight))
    assert draw(straight) != draw(model(gamma=-50.0))


@DRAWINGS
@pytest.mark.parametrize(
    "size", [(1, 1, 0.0), (2, 1, 1.0), (3, 3, 1.0), (30, 5, 0.1), (300, 9, 0.01)]
)
def test_a_matrix_of_any_size_is_drawn(draw, size):
    assert min(png_size(draw(coupled(*size)))) > 400


def test_a_square_root_matrix_says_at_which_flow():
    straight = model()
    concave = replace(straight, transform="sqrt", reference=np.full(straight.n, 0.01))
    assert figures.heatmap(concave) != figures.heatmap(straight)


def test_the_network_leaves_out_the_weak_and_says_so(monkeypatch):
    """What is drawn does not depend on the pairs beyond the strongest, but for their number."""
    monkeypatch.setattr(figures, "MAX_EDGES", 10)
    titles = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_title", lambda _, text: titles.append(text))
    full = coupled(12, 3, 0.8)
    first, second = figures.strongest(np.abs(full.scaled - np.diag(full.beta)), 10)
    strong = np.zeros((12, 12), dtype=bool)
    strong[first, second] = strong[second, first] = True
    few = replace(full, gamma=np.where(strong, full.gamma, 0.0))
    assert figures.network(full) == figures.network(few)
    assert titles == [
        f"cross impact, regime normal: {full.edges} pairs, the strongest 10 drawn",
        "cross impact, regime normal: 10 pairs",
    ]


def test_the_strongest_pairs_are_the_largest_entries_once_each():
    rng = np.random.default_rng(0)
    size = np.triu(rng.integers(0, 5, (9, 9)), 1).astype(float)
    size += size.T
    first, second = figures.strongest(size, 12)
    assert (first < second).all() and len({*zip(first, second, strict=True)}) == 12
    rest = np.triu(size, 1)
    shown = rest[first, second]
    rest[first, second] = 0.0
    assert (np.diff(shown) <= 0).all() and shown.min() >= rest.max()
    assert len(figures.strongest(size, 1000)[0]) == np.count_nonzero(np.triu(size, 1))


def test_stability_paths_follow_kept_pairs_and_the_strongest_others():
    rng = np.random.default_rng(2)
    n, penalties = 40, np.geomspace(1, 0.1, 8)
    entry = np.triu(rng.integers(0, 12, (n, n)), 1)
    entry = entry + entry.T  # the penalty at which a pair enters; from 8 on it never does
    shares = (np.arange(8)[:, None, None] >= entry) * ~np.eye(n, dtype=bool)
    kept = entry == 3
    first, second = figures.followed(shares.astype(float), kept)
    chosen = np.zeros((n, n), dtype=bool)
    chosen[first, second] = True
    upper = np.triu(np.ones((n, n), dtype=bool), 1)
    assert chosen[kept & upper].all() and not chosen[~upper].any()
    others = ~kept & upper
    assert (chosen & others).sum() == figures.MAX_LINES
    assert entry[chosen & others].max() <= entry[~chosen & others].min()
    png = figures.stability_paths(
        penalties, shares[:, first, second], kept[first, second], "paths", left_out=7
    )
    assert min(png_size(png)) > 400


@pytest.mark.parametrize("pairs", [0, 1, 2])
def test_few_stability_paths_are_drawn_too(pairs):
    shares = np.linspace(0, 1, 4)[:, None] * np.ones(pairs)
    png = figures.stability_paths(np.geomspace(1, 0.1, 4), shares, np.ones(pairs, dtype=bool), "t")
    assert min(png_size(png)) > 400


@pytest.mark.parametrize("n", [0, 1, 2, 500])
def test_the_calibration_plot_takes_any_number_of_points(n):
    x = np.random.default_rng(1).normal(size=n)
    assert min(png_size(figures.calibration_plot(x, 2 * x, "cross"))) > 300


@pytest.mark.parametrize(("n", "named"), [(20, True), (60, True), (61, False)])
def test_the_heatmap_names_its_symbols_as_long_as_they_fit(n, named):
    one, other = (
        figures.heatmap(
            ImpactModel(
                symbols=tuple(f"{letter}{k:02d}" for k in range(n)),
                sectors=("tech",) * n,
                adv=np.full(n, 1e6),
                regime="normal",
                alpha=np.ones(n),
                beta=np.full(n, 3000.0),
                gamma=np.zeros((n, n)),
            )
        )
        for letter in "AB"
    )
    assert (one != other) is named
