"""Elastic nets of all rows and pairs on shared Grams against ElasticNetCV row by row.

Both sides solve the same problem on one thread: every row of a desk, a grid of penalties, blocked
folds, the own terms partialled out. scikit-learn gets its Gram shortcut (``precompute=True``), the
raw columns in memory and its default tolerance, on a few rows spread over the desk; its time for
all rows is *extrapolated* linearly from them. Ours is the whole of it: cross-validation of all
rows, then the fit to all data; with and without the accumulation of the shared Grams, which reads
the flows chunk by chunk and serves rows and pairs alike. CPU seconds.

    .venv/bin/python benchmarks/elastic_net.py                                  # 200 symbols
    .venv/bin/python benchmarks/elastic_net.py --symbols 200,500
    .venv/bin/python benchmarks/elastic_net.py --symbols 8 --buckets 2000       # does it run

Grids reach down to `--smallest` of each row's largest penalty, just beyond what cross-validation
chooses anywhere (`rows_chosen_last`); deeper ones fit noise with most names active and cost more.

Flows share a market and a sector factor; a few pairs per name carry cross impact worth
`--cross-share` of a row's variance. Agreement is the largest difference of coefficients in
standardised columns over the largest coefficient, at each row's chosen penalty: of both sides to
scikit-learn iterated to 1e-12, and of the curves of held-out error to one another.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import ElasticNet, ElasticNetCV
from threadpoolctl import threadpool_limits

from crossimpact.estimate.equations import Equations
from crossimpact.estimate.paths import (
    cross_validate_pairs,
    cross_validate_rows,
    pair_lambdas,
    pair_paths,
    row_lambdas,
    row_paths,
)
from crossimpact.estimate.penalty import Penalty
from crossimpact.model import Array

CHUNK = 10_000
SECTOR = 20
NEIGHBOURS = 4  # pairs with cross impact per name


@dataclass(frozen=True)
class Desk:
    """Scaled flows and responses of a planted symmetric matrix, made anew chunk by chunk."""

    symbols: int
    buckets: int
    cross_share: float
    seed: int

    @property
    def planted(self) -> Array:
        """Sparse symmetric M: a few pairs per name, half of them within its sector."""
        n, rng = self.symbols, np.random.default_rng((self.seed, 1))
        M = np.zeros((n, n))
        for i in range(n):
            sector = np.arange(n)[np.arange(n) // SECTOR == i // SECTOR]
            near = np.concatenate((rng.choice(sector, 1), rng.choice(n, NEIGHBOURS // 2 - 1)))
            M[i, near] = rng.gamma(2.0, 0.5, len(near)) * rng.choice((1, 1, 1, -1), len(near))
        M = M + M.T
        np.fill_diagonal(M, 0.0)
        return M

    def chunks(self) -> Iterator[tuple[Array, Array]]:
        """Flows x and responses Y, each (rows, n), `CHUNK` rows at a time."""
        M = self.planted
        n, own = self.symbols, np.random.default_rng((self.seed, 2)).uniform(1, 3, self.symbols)
        for start in range(0, self.buckets, CHUNK):
            rng = np.random.default_rng((self.seed, 3, start))
            rows = min(CHUNK, self.buckets - start)
            market, sector = rng.normal(size=(rows, 1)), rng.normal(size=(rows, -(-n // SECTOR)))
            common = 0.4 * market + 0.4 * sector[:, np.arange(n) // SECTOR]
            x = common + rng.standard_t(5, size=(rows, n)) * 0.6
            cross = x @ M
            noise = np.sqrt((M**2).sum(axis=1) * 0.9 * (1 / self.cross_share - 1))
            yield x, cross + own * x + 0.5 * np.sign(x) + noise * rng.normal(size=(rows, n))


@dataclass(frozen=True)
class Sums:
    """What is added up over buckets; own terms of name i are x_i and its sign."""

    xx: Array
    xs: Array
    xy: Array
    ss: Array
    sy: Array
    rows: int

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            *(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )

    def __sub__(self, other: Sums) -> Sums:
        return Sums(
            *(a - b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )

    def equations(self) -> Equations:
        """Own terms out, weights per observation: the convention of scikit-learn."""
        n = len(self.xx)
        cross = np.stack((self.xx, self.xs.T), axis=2)  # (i, j, .): x_j'x_i and x_j'sign_i
        d = np.diagonal
        square = np.stack((d(self.xx), d(self.xs), d(self.xs), self.ss), axis=1).reshape(n, 2, 2)
        root = np.linalg.inv(np.linalg.cholesky(square))
        basis = np.einsum("irs,ijs->ijr", root, cross)
        own = np.einsum("irs,is->ir", root, np.stack((d(self.xy), self.sy), axis=1))
        xy = self.xy.T - np.einsum("ijr,ir->ij", basis, own)
        return Equations(self.xx, basis, xy, np.full(n, 1 / self.rows))


def accumulate(desk: Desk, folds: int) -> tuple[list[Sums], float]:
    """Sums of each contiguous fold, and the CPU seconds without those of making the data up."""
    sums: dict[int, Sums] = {}
    spent, at = 0.0, 0
    for x, y in desk.chunks():
        start = time.process_time()
        fold = np.arange(at, at + len(x)) * folds // desk.buckets
        for k in np.unique(fold):
            a, b = x[fold == k], y[fold == k]
            sign = np.sign(a)
            part = Sums(
                a.T @ a, a.T @ sign, a.T @ b, (sign**2).sum(0), (sign * b).sum(0), len(a)
            )  # fmt: skip
            sums[int(k)] = sums[int(k)] + part if int(k) in sums else part
        spent += time.process_time() - start
        at += len(x)
    return [sums[k] for k in sorted(sums)], spent


def fold_equations(sums: Sequence[Sums]) -> tuple[Equations, list[Equations], list[Equations]]:
    """Of all data, of each training set (all less the fold) and of each fold."""
    total = sums[0]
    for part in sums[1:]:
        total = total + part
    return (
        total.equations(),
        [(total - part).equations() for part in sums],
        [part.equations() for part in sums],
    )


def timed(work: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """What `work` gives, and the median of its CPU seconds."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
    return result, statistics.median(seconds)


def theirs(desk: Desk, rows: Sequence[int], grid: Array, folds: int, l1_ratio: float) -> list[Any]:
    """ElasticNetCV of some rows: seconds, chosen penalty, coefficients and curve of error.

    Own terms are taken out and columns scaled to unit mean square before the clock starts.
    """
    x = np.empty((desk.buckets, desk.symbols))
    y = np.empty((desk.buckets, len(rows)))
    at = 0
    for flows, responses in desk.chunks():
        x[at : at + len(flows)], y[at : at + len(flows)] = flows, responses[:, rows]
        at += len(flows)
    fold = np.arange(desk.buckets) * folds // desk.buckets
    splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(folds)]
    return [
        their_row(x, y[:, k], i, splits, grid[:, i], l1_ratio) for k, i in enumerate(rows)
    ]  # fmt: skip


def their_row(
    x: Array, y: Array, i: int, splits: Any, grid: Array, l1_ratio: float
) -> dict[str, Any]:
    own, _ = np.linalg.qr(np.column_stack((x[:, i], np.sign(x[:, i]))))
    others = np.delete(np.arange(x.shape[1]), i)
    columns = np.asfortranarray(x[:, others])
    columns -= own @ (own.T @ columns)
    size = np.sqrt(np.einsum("tj,tj->j", columns, columns) / len(x))
    columns /= size
    response = y - own @ (own.T @ y)
    model = ElasticNetCV(
        l1_ratio=l1_ratio, alphas=grid, cv=splits, precompute=True, fit_intercept=False, n_jobs=1
    )
    fitted, seconds = timed(lambda: model.fit(columns, response), 1)
    exact = ElasticNet(
        alpha=fitted.alpha_, l1_ratio=l1_ratio, fit_intercept=False, precompute=True,
        tol=1e-12, max_iter=10**6,
    ).fit(columns, response)  # fmt: skip
    chosen = int(np.argmin(np.abs(grid - fitted.alpha_)))
    curve = fitted.mse_path_.mean(axis=1)
    return {
        "row": i, "others": others, "size": size, "seconds": seconds, "chosen": chosen,
        "coef": fitted.coef_, "exact": exact.coef_, "curve": curve,
    }  # fmt: skip


def agreement(paths: Array, loss: Array, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Largest relative differences over the compared rows: see the module's text."""
    ours, they, curves, steps = [], [], [], []
    for row in rows:
        i, exact = row["row"], row["exact"]
        size = np.abs(exact).max()
        found = paths[row["chosen"], i, row["others"]] * row["size"]
        ours.append(np.abs(found - exact).max() / size)
        they.append(np.abs(row["coef"] - exact).max() / size)
        curve = 2 * loss[:, :, i].mean(axis=0)
        gain = row["curve"] - row["curve"][0]
        curves.append(np.abs(curve - curve[0] - gain).max() / np.abs(gain).max())
        steps.append(abs(int(loss[:, :, i].sum(axis=0).argmin()) - row["chosen"]))
    return {
        "coef_ours": max(ours),
        "coef_sklearn": max(they),
        "error_curve": max(curves),
        "grid_steps_apart": max(steps),
    }


def measure(desk: Desk, asked: argparse.Namespace) -> dict[str, Any]:
    """Everything for one size of desk, one after the other in one process."""
    n, folds = desk.symbols, asked.folds
    penalty = Penalty(asked.l1_ratio, tolerance=3e-5)  # as accurate as the peer by default
    sums, gram_s = accumulate(desk, folds)
    (full, training, held_out), equations_s = timed(lambda: fold_equations(sums), asked.repeats)
    rows_grid = row_lambdas(full, penalty, asked.lambdas, asked.smallest)
    pairs_grid = pair_lambdas(full, penalty, asked.lambdas, asked.smallest_pairs)

    def all_rows() -> tuple[Any, Array]:
        validated = cross_validate_rows(training, held_out, penalty, rows_grid)
        return validated, row_paths(full, penalty, rows_grid)

    def all_pairs() -> tuple[Any, Array]:
        validated = cross_validate_pairs(training, held_out, penalty, pairs_grid)
        return validated, pair_paths(full, penalty, pairs_grid)

    (validated, paths), rows_s = timed(all_rows, asked.repeats)
    (joint, joint_paths), pairs_s = timed(all_pairs, asked.repeats)
    compared = np.linspace(0, n - 1, asked.rows).astype(int).tolist()
    rows = theirs(desk, compared, rows_grid, folds, asked.l1_ratio)
    sklearn_s = statistics.mean(row["seconds"] for row in rows) * n
    M, at = desk.planted, joint.best[0]
    planted = np.linalg.norm(M)
    chosen = paths[validated.best, np.arange(n)]
    return {
        "symbols": n,
        "buckets": desk.buckets,
        "sklearn_extrapolated_s": sklearn_s,
        "sklearn_rows_s": [row["seconds"] for row in rows],
        "rows_s": rows_s + equations_s,
        "pairs_s": pairs_s + equations_s,
        "gram_s": gram_s,
        "rows_ratio": sklearn_s / (rows_s + equations_s),
        "pairs_ratio": sklearn_s / (pairs_s + equations_s),
        "rows_with_gram_ratio": sklearn_s / (rows_s + equations_s + gram_s),
        "pairs_with_gram_ratio": sklearn_s / (pairs_s + equations_s + gram_s),
        "rows_chosen": float(np.median(validated.best)),
        "rows_chosen_last": int(validated.best.max()),
        "pairs_chosen": int(at),
        "rows_active": float((chosen != 0).sum(axis=1).mean()),
        "rows_active_last": float((paths[-1] != 0).sum(axis=1).mean()),
        "rows_error": float(np.linalg.norm(chosen - M) / planted),
        "pairs_error": float(np.linalg.norm(joint_paths[at] - M) / planted),
        **agreement(paths, validated.loss, rows),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: a line per size."""
    names = [name for name in rows[0] if name != "sklearn_rows_s"]
    lines = [names, ["---:"] * len(names)]
    lines += [[f"{row[name]:.4g}" for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--symbols", default="200", help="comma-separated sizes")
    parser.add_argument("--buckets", type=int, default=100_000)
    parser.add_argument("--lambdas", type=int, default=50)
    parser.add_argument("--smallest", type=float, default=2e-2, help="last penalty over the first")
    parser.add_argument("--smallest-pairs", type=float, default=1e-2, help="the same, of pairs")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--l1-ratio", type=float, default=0.9)
    parser.add_argument("--cross-share", type=float, default=0.02)
    parser.add_argument("--rows", type=int, default=3, help="rows given to scikit-learn")
    parser.add_argument("--repeats", type=int, default=5, help="of ours; medians are shown")
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    with threadpool_limits(1):
        tiny = argparse.Namespace(**{**vars(asked), "rows": 1, "repeats": 1})
        measure(Desk(5, 500, 0.1, asked.seed), tiny)  # compilation is not solving
        rows = []
        for n in (int(size) for size in asked.symbols.split(",")):
            rows.append(measure(Desk(n, asked.buckets, asked.cross_share, asked.seed), asked))
            print(f"{n} symbols: {rows[-1]['rows_ratio']:.0f}x", file=sys.stderr)
    print(table(rows))
    print(json.dumps(rows, sort_keys=True))


if __name__ == "__main__":
    main()
