"""The impact model: the one place where a cost is computed.

Per regime and bucket, with ``q_i = Q_i / adv_i`` the signed fraction of ADV executed in symbol i
and ``f_j`` the flow transform,

    f_j(q) = q                              (linear)
           = sign(q) sqrt(|q| q0_j)         (sqrt: concave, equal to q at the reference |q| = q0_j)
    s_i  = alpha_i + beta_i |f_i(q_i)| + sign(q_i) sum_{j != i} gamma_ij f_j(q_j)    [bps]
    cost = 1e-4 sum_i |Q_i| (alpha_i + beta_i |f_i(q_i)|)
         + 1e-4 sum_{i != j} Q_i gamma_ij f_j(q_j)                                   [USD]

Positive is worse for the desk. The double sum meets each unordered pair twice, once from each side.
The symmetric object is the dollar matrix ``S_ij = 1e-4 gamma_ij / adv_j``; under either transform
beta and gamma are bps per unit of ADV fraction. A model with a decay kernel also prices paths of
buckets, in which impact outlives its bucket (`crossimpact.path`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossimpact import path
from crossimpact.errors import ModelError
from crossimpact.kernel.decay import Decay
from crossimpact.path import PathCost as PathCost
from crossimpact.plain_data import canonical_json as canonical_json
from crossimpact.plain_data import dense, nan_null, null_nan
from crossimpact.scaled import BPS as BPS
from crossimpact.scaled import Array as Array
from crossimpact.scaled import from_scaled as from_scaled
from crossimpact.scaled import frozen
from crossimpact.scaled import to_scaled as to_scaled

Transform = Literal["linear", "sqrt"]


@dataclass(frozen=True)
class Cost:
    """Expected cost in USD, split into the model's three parts (positive = worse).

    Attributes
    ----------
    linear
        Spread-like part, ``1e-4 sum |Q_i| alpha_i``.
    self_impact
        ``1e-4 sum |Q_i| beta_i |f_i(q_i)|``.
    cross
        ``1e-4 sum_{i != j} Q_i gamma_ij f_j(q_j)``.
    """

    linear: Array
    self_impact: Array
    cross: Array

    @property
    def total(self) -> Array:
        return self.linear + self.self_impact + self.cross


@dataclass(frozen=True)
class ImpactModel:
    """Self and cross impact of one regime.

    Parameters
    ----------
    symbols, sectors
        Names and their sectors, length n.
    adv
        Average daily traded notional, USD, > 0, shape (n,).
    regime
        Label of the regime the numbers belong to.
    alpha, beta
        Linear cost in bps, and self impact in bps per unit of ADV fraction (>= 0), shape (n,).
    gamma
        bps on i per unit of ADV fraction in j, zero diagonal, shape (n, n). Positive: trading both
        in the same direction costs more together. Typical values: 0.1 to 0.5 of beta in a sector.
    alpha_se, beta_se, gamma_se
        Standard errors, NaN where none was estimated. Default: NaN.
    gamma_frequency
        Share of the time folds in which a pair was selected, NaN where that was not counted.
    provenance
        Plain data: who made the numbers, from what, when.
    transform
        ``linear``, or ``sqrt`` for moves that grow with the square root of the flow.
    reference
        Flow q0 at which both transforms agree, ADV fraction, > 0, shape (n,); a typical bucket's
        flow. ``sqrt`` needs it, ``linear`` does not read it (default: ones).
    kernel
        How impact decays after its bucket; None: it is gone by the next one.

    Raises
    ------
    ModelError
        On a wrong shape, a non-finite number, ADV <= 0, beta < 0, a non-zero diagonal of gamma, a
        symbol named twice, an unknown transform, or a reference flow that is missing or <= 0.
    """

    symbols: tuple[str, ...]
    sectors: tuple[str, ...]
    adv: Array
    regime: str
    alpha: Array
    beta: Array
    gamma: Array
    alpha_se: Array = field(default_factory=lambda: np.empty(0))
    beta_se: Array = field(default_factory=lambda: np.empty(0))
    gamma_se: Array = field(default_factory=lambda: np.empty(0))
    provenance: Mapping[str, Any] = field(default_factory=dict)
    transform: Transform = "linear"
    reference: Array = field(default_factory=lambda: np.empty(0))
    gamma_frequency: Array = field(default_factory=lambda: np.empty(0))
    kernel: Decay | None = None

    def __post_init__(self) -> None:
        n = len(self.symbols)
        vectors = ("adv", "alpha", "beta", "alpha_se", "beta_se", "reference")
        shapes = dict.fromkeys(vectors, (n,))
        squares = dict.fromkeys(("gamma", "gamma_se", "gamma_frequency"), (n, n))
        for name, shape in {**shapes, **squares}.items():
            value = frozen(getattr(self, name))
            if value.size == 0 and name.endswith(("_se", "_frequency")):
                value = np.broadcast_to(np.nan, shape)
            if value.size == 0 and name == "reference" and self.transform == "linear":
                value = np.ones(shape)
            if value.shape != shape:
                raise ModelError(
                    f"{name} of regime {self.regime} has shape {value.shape}, not {shape}"
                )
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        where = f"regime {self.regime}"
        if self.transform not in get_args(Transform):
            raise ModelError(f"transform of {where} is {self.transform!r}", "give linear or sqrt")
        if len(set(self.symbols)) != len(self.symbols):
            raise ModelError(f"a symbol is named twice in {where}")
        if len(self.sectors) != len(self.symbols):
            raise ModelError(f"{len(self.sectors)} sectors for {len(self.symbols)} symbols")
        for name in ("adv", "alpha", "beta", "gamma", "reference"):
            if not np.isfinite(getattr(self, name)).all():
                raise ModelError(f"{name} of {where} is not finite")
        for name, limit in (("adv", "> 0"), ("beta", ">= 0"), ("reference", "> 0")):
            value = getattr(self, name)
            good = value > 0 if limit == "> 0" else value >= 0
            if not good.all():
                i = int(np.argmin(good))
                raise ModelError(
                    f"{name} of {self.symbols[i]} in {where} is {value[i]:g}, must be {limit}"
                )
        if np.diagonal(self.gamma).any():
            raise ModelError(f"gamma of {where} has a non-zero diagonal: own impact is beta")

    @property
    def n(self) -> int:
        return len(self.symbols)

    # -- the formula ---------------------------------------------------------------------------

    def flow(self, q: ArrayLike) -> Array:
        """The flow that moves prices, ``f(q)``, ADV fraction, odd in `q`, shape of `q`."""
        q = np.asarray(q, dtype=np.float64)
        if self.transform == "linear":
            return q
        return np.asarray(np.sign(q) * np.sqrt(np.abs(q) * self.reference))

    def flow_slope(self, q: Array) -> Array:
        """``df/dq``; the square root's is infinite at 0, where its central subgradient 0 stands."""
        if self.transform == "linear":
            return np.ones_like(q)
        size = np.where(q != 0, np.abs(q), np.inf)
        return np.asarray(0.5 * np.sqrt(self.reference / size))

    def self_bps(self, q: ArrayLike) -> Array:
        """Signed price move on each name from its own flow, ``beta_i f_i``, bps, shape of `q`."""
        return np.asarray(self.flow(q) * self.beta)

    def cross_bps(self, q: ArrayLike) -> Array:
        """Signed price move on each name from the others, ``sum_j gamma_ij f_j``, bps."""
        return np.asarray(self.flow(q) @ self.gamma.T)

    def cost(self, q: ArrayLike) -> Cost:
        """Expected cost of trading `q` in one bucket.

        Parameters
        ----------
        q
            Signed fractions of ADV, shape (n,) or (buckets, n); buys positive.

        Returns
        -------
        Cost
            In USD, one number per bucket.
        """
        q = np.asarray(q, dtype=np.float64)
        notional = BPS * q * self.adv
        return Cost(
            linear=(np.abs(notional) * self.alpha).sum(axis=-1),
            self_impact=(notional * self.self_bps(q)).sum(axis=-1),
            cross=(notional * self.cross_bps(q)).sum(axis=-1),
        )

    def marginal_cost(self, q: ArrayLike) -> Array:
        """Exact gradient of ``cost(q).total`` in the traded notional ``Q``, USD per USD.

        Both rows of a pair move: ``d/dQ_i`` meets gamma_ij as the name that pays and gamma_ji as
        the name that pushes. At ``q_i = 0`` the linear term has a kink and contributes its central
        subgradient, zero. So does the square-root transform's push ``f_i``, whose slope is infinite
        there: the first dollar in a name moves the others by more than any price per dollar.
        """
        q = np.asarray(q, dtype=np.float64)
        slope = self.flow_slope(q)
        own = self.self_bps(q) + self.beta * q * slope
        pushed = (q * self.adv) @ self.gamma / self.adv * slope
        return np.asarray(BPS * (np.sign(q) * self.alpha + own + self.cross_bps(q) + pushed))

    def path_cost(self, flows: ArrayLike, sessions: Sequence[Any] | None = None) -> PathCost:
        """Expected cost in USD per bucket of a path of flows, ADV fractions, shape (buckets, n),
        with what each carries over to later ones; see `crossimpact.path.cost`. A model without
        kernel carries exactly nothing."""
        return path.cost(self, flows, sessions)

    def path_marginal_cost(self, flows: ArrayLike, sessions: Sequence[Any] | None = None) -> Array:
        """Exact gradient of ``path_cost(flows).total.sum()`` in every ``Q_bi``, USD per USD, shape
        (buckets, n): what the bucket pays, and what later buckets will pay for its push. Kinks as
        in `marginal_cost`."""
        return path.marginal_cost(self, flows, sessions)

    def pair_cost(self, q: ArrayLike) -> Array:
        """USD cost of each ordered pair over all buckets, shape (n, n): `[i, j]` is ``Q_i gamma_ij
        f_j`` summed; `[i, j] + [j, i]` is what the pair cost together."""
        q = np.atleast_2d(np.asarray(q, dtype=np.float64))
        return np.asarray(BPS * self.adv[:, None] * self.gamma * (q.T @ self.flow(q)))

    def path_pair_cost(self, flows: ArrayLike) -> tuple[Array, Array]:
        """USD cost of each ordered pair over a path of flows, shape (n, n) each: now, and carried
        over; see `crossimpact.path.pair_cost`."""
        return path.pair_cost(self, flows)

    # -- the symmetric object ------------------------------------------------------------------

    @property
    def scaled(self) -> Array:
        """``S + diag(1e-4 beta/adv)`` scaled by ``1e4 sqrt(adv_i adv_j)``: bps, `beta` on the
        diagonal. Positive semidefinite exactly when the dollar matrix is, and well conditioned."""
        return to_scaled(self.gamma, self.adv) + np.diag(self.beta)

    @property
    def edges(self) -> int:
        """Unordered pairs with a non-zero gamma."""
        return int(np.count_nonzero(np.triu(self.gamma != 0, 1) | np.tril(self.gamma != 0, -1).T))

    @property
    def condition_number(self) -> float:
        """Ratio of the largest to the smallest eigenvalue of `scaled`; inf when not definite."""
        spectrum = np.linalg.eigvalsh((self.scaled + self.scaled.T) / 2)
        return float(spectrum[-1] / spectrum[0]) if spectrum[0] > 0 else float("inf")

    def self_only(self) -> ImpactModel:
        """The same model without its cross terms: the self-only rung of the fallback ladder."""
        zero = np.zeros_like(self.gamma)
        return replace(self, gamma=zero, gamma_se=np.full_like(zero, np.nan))

    # -- plain data ----------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain data; gamma as triplets of its non-zero entries, NaN as null; transform, selection
        frequency and kernel where they differ from the default."""
        pairs = self.pairs()
        gamma = {name: pairs[name].tolist() for name in ("i", "j", "bps")}
        gamma["se"] = null_nan(pairs["se"])
        if not np.isnan(pairs["frequency"]).all():
            gamma["frequency"] = null_nan(pairs["frequency"])
        return {**self.terms(), "gamma": gamma}

    def terms(self) -> dict[str, Any]:
        """Plain data of everything but the couplings."""
        data: dict[str, Any] = {
            "regime": self.regime,
            "symbols": list(self.symbols),
            "sectors": list(self.sectors),
            "adv": self.adv.tolist(),
            "alpha_bps": self.alpha.tolist(),
            "beta_bps": self.beta.tolist(),
            "alpha_se": null_nan(self.alpha_se),
            "beta_se": null_nan(self.beta_se),
            "provenance": dict(self.provenance),
        }
        if self.transform != "linear" or (self.reference != 1).any():
            data |= {"transform": self.transform, "reference_adv": self.reference.tolist()}
        if self.kernel is not None:
            data["kernel"] = self.kernel.to_dict()
        return data

    def pairs(self) -> dict[str, NDArray[Any]]:
        """The non-zero couplings in row order: `i`, `j`, `bps`, `se`, `frequency`, equally long."""
        rows, columns = np.nonzero(self.gamma != 0)  # of booleans: many times faster
        cells = (rows, columns, self.gamma, self.gamma_se, self.gamma_frequency)
        picked = (cell if cell.ndim == 1 else cell[rows, columns] for cell in cells)
        return dict(zip(("i", "j", "bps", "se", "frequency"), picked, strict=True))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ImpactModel:
        """Inverse of `to_dict`.

        Raises
        ------
        ModelError
            When a field is missing, of the wrong kind, or an index lies outside the symbols.
        """
        try:
            n, cells = len(data["symbols"]), data["gamma"]
            index = np.array(cells["i"], dtype=int), np.array(cells["j"], dtype=int)
            if index[0].size and not (0 <= min(map(np.min, index)) <= max(map(np.max, index)) < n):
                raise ModelError(
                    f"gamma of regime {data['regime']} has an index outside 0..{n - 1}"
                )
            gamma, gamma_se, frequency = dense(index, cells, n)
            return cls(
                symbols=tuple(data["symbols"]),
                sectors=tuple(data["sectors"]),
                adv=np.array(data["adv"], dtype=float),
                regime=str(data["regime"]),
                alpha=np.array(data["alpha_bps"], dtype=float),
                beta=np.array(data["beta_bps"], dtype=float),
                gamma=gamma,
                alpha_se=nan_null(data["alpha_se"]),
                beta_se=nan_null(data["beta_se"]),
                gamma_se=gamma_se,
                provenance=data["provenance"],
                transform=data.get("transform", "linear"),
                reference=np.array(data.get("reference_adv", ()), dtype=float),
                gamma_frequency=frequency,
                kernel=Decay.from_dict(data["kernel"]) if "kernel" in data else None,
            )
        except ModelError:
            raise
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise ModelError(f"not a model: {error!r} is missing or of the wrong kind") from error

    @property
    def digest(self) -> str:
        """sha256 of the canonical bytes: equal digests, equal numbers."""
        return hashlib.sha256(canonical_json(self.to_dict())).hexdigest()
