"""Does a path of buckets that ends where it began make money? A certificate, either way.

**Linear flow.** Write ``C = E + R`` for the couplings in units of the names' own impacts (`scaled`:
E the own ones, R the rest, symmetric), ``M = scale_self E + scale_cross R`` for what a bucket
leaves behind at its end, and ``x_b`` for the flows. A path costs, spread aside,

    sum_b x_b' C x_b + sum_{a < b} g((b - a - 1) D) x_b' M x_a,       D the bucket's width,

a block Toeplitz form with ``2 C`` on its diagonal and ``g((l - 1) D) M`` at lag l. It is
nonnegative for paths of every length exactly when its spectral density ``2 (C + phi(theta) M)`` is
positive semidefinite at all frequencies, ``phi(theta) = sum_l g((l - 1) D) cos(l theta)``; asking
for round trips removes only theta = 0, and a negative frequency is a round trip long enough.
One shape for self and cross makes the density linear in phi, and nonnegative exponentials let phi
range over an interval known in closed form (`Decay.spectral_range`), so its two ends decide:

- low, buying and selling in turns: ``C >= kappa M``, ``kappa = sum_k w_k / (1 + r_k)`` between 1/2
  (permanent) and 1 (gone at once), ``r_k = exp(-rho_k D)``. It limits the scales, of a single name
  already, to ``1 / kappa``: at most 2 for permanent impact, ``1 + r`` for one rate. What the mid
  keeps in excess of what fills pay is taken by whoever turns round every bucket;
- high, slow round trips: ``C + phi M >= 0`` at the largest phi; where decay is slow, M itself.

So ``0 <= kappa M <= C`` is enough, and the verdict is a proof for trades on the bucket grid at the
model's own prices; of trades within a bucket the model says nothing. A self and a cross part that
decay differently are outside this family: without a bucket's width they are free of round trips
only when their rates are within `separate_decay_bound` of each other (Alfonsi, Kloeck and Schied
2016; Schneider and Lillo 2019).

**Square-root flow.** The push of a bucket is concave in its flow, and decays afterwards. With any
exponential decay this pays somewhere in continuous time (Gatheral 2010, Lemma 4.1; power laws
``t^-gamma`` with ``v^delta`` need ``gamma + delta >= 1`` and are infinite at lag 0; bounded kernels
need linear impact, Schneider and Lillo 2019): many small purchases push more than one sale takes
back. On a grid of buckets it depends on how slow the decay is and on how many buckets there are, so
the most profitable such pump is searched for. Concavity *after* decay, ``h(sum of decayed flow)``,
would be free of it (Alfonsi, Fruth and Schied 2010; Gatheral, Schied and Slynko 2011; Hey,
Mastromatteo, Muhle-Karbe and Webster 2025), but is another model. Such a kernel measures and
predicts; what optimises is given its linearisation at the reference flow, which is certified.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, null_space
from scipy.optimize import minimize_scalar

from crossimpact.errors import ModelError
from crossimpact.kernel.decay import Decay
from crossimpact.manipulation import TRIP_SIZE
from crossimpact.model import ImpactModel
from crossimpact.scaled import TOLERANCE, Array, impact_units, normalised

#: Minutes of the session in which a square-root model's pump is searched.
SESSION_MIN = 390.0
#: Round trips longer than this are not spelt out.
LONGEST = 384
#: How many sales a pump tries, and how many numbers of purchases.
_SALES, _BUYS = (1, 2, 3, 5, 8, 13, 21), 60


@dataclass(frozen=True)
class PathCertificate:
    """Verdict on a model's kernel; the spread alpha neither saves nor condemns it.

    Attributes
    ----------
    admissible
        No round trip over buckets makes money (``proved``), or none was found (``searched``).
    linear_admissible
        The same of the model with linear flow, which is what optimisers are given; proved where
        couplings are symmetric.
    smallest_eigenvalue
        Of the linear model's spectral density, halved, over all frequencies; 1 is own impact.
    theta
        The frequency where it is, radians per bucket: pi turns round every bucket, 0 is slow.
    round_trip
        A profitable path, ADV fractions, shape (buckets, n), which sums to zero per name exactly.
        None when admissible, or when it would take more than `LONGEST` buckets.
    profit_usd
        What `round_trip` earns by ``model.path_cost``, its linear cost paid; 0 without one.
    method
        ``proved`` or ``searched``; a round trip is its own proof.
    """

    admissible: bool
    linear_admissible: bool
    smallest_eigenvalue: float
    theta: float
    round_trip: Array | None
    profit_usd: float
    method: Literal["proved", "searched"]

    def to_dict(self) -> dict[str, Any]:
        """Plain data; the round trip as lists of ADV fractions."""
        trip = None if self.round_trip is None else self.round_trip.tolist()
        return {**vars(self), "round_trip": trip}


@dataclass(frozen=True)
class Propagator:
    """Linear impact over buckets, in any units in which it is well scaled.

    ``sum_b x_b' now x_b + sum_{a < b} x_b' (sum_k ratios_k^(b - a - 1) carried_k) x_a``: more than
    a model's kernel can say, such as other decays for self and cross.

    Attributes
    ----------
    now
        Shape (n, n).
    ratios
        What is left after a bucket, 0 to 1, shape (K,).
    carried
        Per ratio, shape (K, n, n).
    """

    now: Array
    ratios: Array
    carried: Array

    @classmethod
    def of(cls, model: ImpactModel) -> Propagator:
        """The linear model's, in units of own impact.

        Raises
        ------
        ModelError
            When it has no kernel.
        """
        kernel, matrix = _kernel(model), normalised(model)
        ratios = np.exp(-kernel.bucket_min * np.array(kernel.rates_per_min))
        return cls(matrix, ratios, np.reshape(kernel.weights, (-1, 1, 1)) * kernel.left(matrix))

    def spectral_density(self, theta: float) -> NDArray[np.complex128]:
        """Hermitian, shape (n, n), at 0 < theta <= pi; no round trip of any length makes money
        exactly when it is positive semidefinite at every one."""
        turn = np.exp(-1j * theta)
        later = np.tensordot(turn / (1 - self.ratios * turn), self.carried, 1)
        return np.asarray(self.now + self.now.T + later + later.conj().T)

    def smallest(self) -> tuple[float, float]:
        """Smallest eigenvalue of the density, halved, and its theta: the best of 400 frequencies,
        refined between its neighbours."""

        def lowest(theta: float) -> float:
            return float(np.linalg.eigvalsh(self.spectral_density(theta))[0]) / 2

        thetas = np.union1d(np.geomspace(1e-4, np.pi, 200), np.linspace(0, np.pi, 201)[1:])
        seen = [lowest(theta) for theta in thetas]
        k = int(np.argmin(seen))
        bounds = thetas[max(k - 1, 0)], thetas[min(k + 1, len(thetas) - 1)]
        found = minimize_scalar(lowest, bounds=bounds, method="bounded")
        if found.fun < seen[k]:
            return float(found.fun), float(found.x)
        return seen[k], float(thetas[k])

    def toeplitz(self, buckets: int) -> Array:
        """The symmetric form of paths of so many buckets, ``1/2 x' H x`` their cost; shape
        (buckets n, buckets n)."""
        n, lags = len(self.now), np.arange(buckets)
        later = np.tensordot(self.ratios ** lags[:-1, None], self.carried, 1)
        none = np.zeros((buckets - 1, n, n))
        table = np.concatenate((self.now[None], later, none))  # by lag; negative ones from the end
        blocks = table[lags[:, None] - lags].transpose(0, 2, 1, 3)
        form = blocks.reshape(buckets * n, buckets * n)
        return np.asarray(form + form.T)

    def round_trip(self, theta: float) -> Array | None:
        """The shortest round trip found that costs less than nothing, shape (buckets, n).

        Searched in the plane of the density's worst direction at `theta`.
        """
        vector = np.linalg.eigh(self.spectral_density(theta))[1][:, 0]
        plane = np.linalg.svd(np.stack((vector.real, vector.imag)), full_matrices=False)
        basis = plane[2][plane[1] > 1e-8 * plane[1][0]].T
        inside = Propagator(basis.T @ self.now @ basis, self.ratios, basis.T @ self.carried @ basis)
        return None if (path := inside._shortest()) is None else path @ basis.T

    def _shortest(self) -> Array | None:
        n, buckets = len(self.now), 2
        while buckets * n <= LONGEST:
            flat = np.kron(null_space(np.ones((1, buckets))), np.eye(n))  # of paths that net to 0
            form = flat.T @ self.toeplitz(buckets) @ flat
            values, vectors = eigh(form, subset_by_index=(0, 0))
            if values[0] < -TOLERANCE:
                return np.asarray((flat @ vectors[:, 0]).reshape(buckets, n))
            buckets += max(1, buckets // 4)
        return None


def path_certificate(model: ImpactModel) -> PathCertificate:
    """Prove that no round trip over buckets makes money, or return one that does.

    Deterministic. Two eigenvalues for symmetric couplings; others are searched by frequency.

    Raises
    ------
    ModelError
        When the model has no kernel.
    """
    lowest, theta, symmetric = _smallest(model)
    linear = lowest >= -TOLERANCE
    trip, admissible = None, linear
    if model.transform == "sqrt":
        trip = _pump(model)
        admissible = trip is None and linear
    elif not linear:
        trip = Propagator.of(model).round_trip(min(max(theta, 1e-3), np.pi))
        if trip is not None:
            trip = trip / np.sqrt(model.adv * impact_units(model))
    trip, profit = (None, 0.0) if trip is None else _sized(model, trip)
    proof = symmetric and model.transform == "linear"
    return PathCertificate(
        admissible=admissible,
        linear_admissible=linear,
        smallest_eigenvalue=lowest,
        theta=theta,
        round_trip=trip,
        profit_usd=profit,
        method="proved" if proof or not admissible else "searched",
    )


def largest_coupling(model: ImpactModel) -> float:
    """The largest share theta of the couplings that the kernel bears, 0 to 1: with ``theta gamma``
    the linear model is admissible over paths. 0 where self impact alone is not (`largest_scale`).
    """
    matrix = normalised(model)
    matrix = (matrix + matrix.T) / 2
    own, share = np.diag(np.diagonal(matrix)), 1.0
    for end, alone in zip(
        _kernel(model).spectral_ends(matrix), _kernel(model).spectral_ends(own), strict=True
    ):
        room = float(np.diagonal(alone).min())  # equal, but where a name has no impact
        taken = -float(np.linalg.eigvalsh(end - alone)[0])
        share = min(share, max(room, 0.0) / taken) if taken > TOLERANCE else share
        share = 0.0 if room < -TOLERANCE else share
    return share


def separate_decay_bound(model: ImpactModel) -> float:
    """Largest ratio of the rates at which self and cross impact may decay apart: beyond it a round
    trip makes money in continuous time. ``1 / |smallest eigenvalue of R|``; inf without couplings.
    """
    matrix = normalised(model)
    rest = (matrix + matrix.T) / 2
    np.fill_diagonal(rest, 0.0)
    lowest = float(np.linalg.eigvalsh(rest)[0])
    return 1 / -lowest if lowest < 0 else np.inf


def _kernel(model: ImpactModel) -> Decay:
    if model.kernel is None:
        raise ModelError(f"the model of regime {model.regime} has no kernel to certify")
    return model.kernel


def _smallest(model: ImpactModel) -> tuple[float, float, bool]:
    """Smallest eigenvalue of the halved density, its theta, and whether couplings are symmetric."""
    matrix = normalised(model)
    if np.abs(matrix - matrix.T).max(initial=0.0) > 2 * TOLERANCE:
        return *Propagator.of(model).smallest(), False
    low, high = (
        float(eigh((end + end.T) / 2, eigvals_only=True, subset_by_index=(0, 0))[0])
        for end in _kernel(model).spectral_ends(matrix)
    )
    return (low, np.pi, True) if low <= high else (high, 0.0, True)


def best_pump(kernel: Decay) -> tuple[float, Array]:
    """Of square-root flow in one name: many equal purchases, then a few sales within a session.

    Returns
    -------
    share, path
        What the best one earns, as a share of the own impact it pays: the same in every name and at
        every size, negative when it costs. And the path, shape (buckets,), purchases of 1.
    """
    buckets = max(2, round(SESSION_MIN / kernel.bucket_min))
    tried = np.unique(np.geomspace(1, buckets - 1, _BUYS).round().astype(int)).tolist()
    legs = [(buys, sales) for buys in tried for sales in _SALES if buys + sales <= buckets]
    paths = np.zeros((buckets, len(legs)))
    for column, (buys, sales) in enumerate(legs):
        paths[:buys, column], paths[buys : buys + sales, column] = 1.0, -buys / sales
    n = len(legs)
    alone = ImpactModel(
        tuple(map(str, range(n))), ("",) * n, np.ones(n), "", np.zeros(n), np.ones(n),
        np.zeros((n, n)), transform="sqrt", reference=np.ones(n), kernel=kernel,
    )  # fmt: skip
    own = alone.self_bps(paths)
    gain = -(paths * (own + alone.path_cost(paths).carried_self_bps)).sum(axis=0)
    share = gain / (paths * own).sum(axis=0)
    best = int(np.argmax(share))
    return float(share[best]), np.trim_zeros(paths[:, best])


def _pump(model: ImpactModel) -> Array | None:
    """The best pump in the name with the largest impact; None when it does not pay."""
    share, path = best_pump(_kernel(model))
    if share <= TOLERANCE or not model.beta.any():
        return None
    trip = np.zeros((len(path), model.n))
    trip[:, int(np.argmax(model.beta))] = path
    return trip


def _sized(model: ImpactModel, trip: Array) -> tuple[Array, float]:
    """The trip at `TRIP_SIZE`, or where impact earns twice what the spread costs; what it earns."""
    trip = trip * TRIP_SIZE / np.abs(trip).sum(axis=0).max() * 2
    free = replace(model, alpha=np.zeros(model.n))
    gain = -float(free.path_cost(trip).total.sum())
    spread = float(model.path_cost(trip).linear.sum())
    if gain > 0:
        cover = max(1.0, 2 * spread / gain)
        trip = trip * (cover if model.transform == "linear" else cover**2)
    step = 2.0 ** (np.ceil(np.log2(np.abs(trip).max())) - 40)  # sums of multiples are exact
    trip = np.round(trip / step) * step
    trip[-1] -= trip.sum(axis=0)
    return trip, -float(model.path_cost(trip).total.sum())
