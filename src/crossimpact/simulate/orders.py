"""The desk's orders of a day: baskets into parents, parents into slices, beside the peers' flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossimpact.model import Array
from crossimpact.simulate.market import Truth
from crossimpact.simulate.spec import Ints

Flags = NDArray[np.bool_]

#: Peer flow per bucket, one standard deviation, as a fraction of the peers' ADV.
PEER_FLOW_SD = 2e-3
_PERSISTENCE = 0.95
_HERDING = 1.5
_HEDGED_SHARE, _SINGLE_SHARE = 0.2, 0.1
_JOINS_SHARE = 0.9
_PARTLY_FILLED, _NEVER_FILLED = 0.08, 0.02
#: Parents a symbol gets in a day, on average: keeps it active in about half of the buckets.
PARENTS_PER_SYMBOL = 2.0


@dataclass(frozen=True)
class Peers:
    """Standardised AR(1) flow of the others: `market` (B,), `sector` (B, sectors)."""

    market: Array
    sector: Array


@dataclass(frozen=True)
class Parents:
    """Parents of a day, shape (P,) each: buckets ``first <= b < last``; `done` is the share of the
    buckets that executes."""

    basket: Ints
    symbol: Ints
    side: Ints
    first: Ints
    last: Ints
    participation: Array
    done: Array


@dataclass(frozen=True)
class Slices:
    """A parent's piece in a bucket: `parent`, `bucket`, `shares` ordered, `executed` or not."""

    parent: Ints
    bucket: Ints
    shares: Ints
    executed: Flags


@dataclass(frozen=True)
class Plan:
    """All that is decided before the day's prices are known."""

    peers: Peers
    parents: Parents
    slices: Slices


def plan_orders(truth: Truth, day: int, rng: np.random.Generator) -> Plan:
    """Peers' flow, the parents it tempts the desk into, and their slices."""
    peers = draw_peers(truth, rng)
    parents = draw_parents(truth, peers, rng)
    return Plan(peers, parents, slice_parents(truth, parents, peers, truth.open_px[day], rng))


def draw_peers(truth: Truth, rng: np.random.Generator) -> Peers:
    """Flow of the market and of each sector, correlated, standard normal at every bucket."""
    count = len(truth.sector_names)
    shocks = rng.standard_normal((truth.spec.buckets, 1 + count))
    z = np.empty_like(shocks)
    z[0] = shocks[0]
    for b in range(1, len(z)):
        z[b] = _PERSISTENCE * z[b - 1] + np.sqrt(1 - _PERSISTENCE**2) * shocks[b]
    market = z[:, 0]
    return Peers(market, np.sqrt(0.3) * market[:, None] + np.sqrt(0.7) * z[:, 1:])


def draw_parents(truth: Truth, peers: Peers, rng: np.random.Generator) -> Parents:
    """Overlapping baskets until every symbol has two parents on average."""
    legs: list[Ints] = []
    basket = 0
    while sum(map(len, legs)) < PARENTS_PER_SYMBOL * truth.spec.symbols:
        legs.append(_joined(_basket(truth, peers, basket, rng), legs, rng))
        basket += 1
    table = np.concatenate(legs)
    size = len(table)
    kind = rng.random(size)
    done = np.where(kind < _PARTLY_FILLED, rng.uniform(0.3, 0.95, size), 1.0)
    done[kind > 1 - _NEVER_FILLED] = 0.0
    participation = np.exp(rng.uniform(np.log(0.03), np.log(0.15), size))
    named, symbol, side, first, last = table.T
    return Parents(named, symbol, side, first, last, participation, done)


def _basket(truth: Truth, peers: Peers, basket: int, rng: np.random.Generator) -> Ints:
    """Legs of one basket, columns (basket, symbol, side, first, last)."""
    buckets, scale = truth.spec.buckets, 300 / truth.spec.bucket_s
    members = _members(truth, rng)
    size = len(members)
    length = min(buckets, max(1, round(rng.uniform(8, 48) * scale)))
    start = rng.integers(0, buckets - length + 1)
    first = np.clip(start + rng.integers(0, 4, size), 0, buckets - 1)
    duration = np.round(length * rng.uniform(0.7, 1.0, size)).astype(np.int64)
    last = np.clip(first + duration, first + 1, buckets)
    mood = peers.sector[start, truth.sector[members]].mean()
    lead = 1 if rng.random() < 1 / (1 + np.exp(-_HERDING * mood)) else -1
    side = np.full(size, lead)
    if size > 1 and rng.random() < _HEDGED_SHARE:
        side[rng.permutation(size)[: size // 2]] *= -1
    return np.stack([np.full(size, basket), members, side, first, last], axis=1)


def _joined(basket: Ints, earlier: list[Ints], rng: np.random.Generator) -> Ints:
    """A leg mostly joins the side the desk already works in that name at that time."""
    _, symbol, _, first, last = basket.T
    for other in earlier:
        _, known, side, start, end = other.T[:, :, None]
        clash = (known == symbol) & (start < last) & (first < end)
        joins = clash.any(axis=0) & (rng.random(len(basket)) < _JOINS_SHARE)
        basket[joins, 2] = side[clash.argmax(axis=0)[joins], 0]
    return basket


def _members(truth: Truth, rng: np.random.Generator) -> Ints:
    """3 to 8 names, mostly of one sector; now and then a single name."""
    n = truth.spec.symbols
    size = 1 if rng.random() < _SINGLE_SHARE else min(n, int(rng.integers(3, 9)))
    home = truth.sector[rng.integers(n)]
    weight = np.where(truth.sector == home, 1.0, 0.02 if rng.random() < 0.7 else 0.5)
    return rng.choice(n, size, replace=False, p=weight / weight.sum())


def slice_parents(
    truth: Truth, parents: Parents, peers: Peers, open_px: Array, rng: np.random.Generator
) -> Slices:
    """Whole lots per parent and bucket: participation of the expected volume, larger with peers."""
    length = parents.last - parents.first
    parent = np.repeat(np.arange(len(length)), length)
    nth = np.arange(len(parent)) - np.repeat(np.cumsum(length) - length, length)
    bucket = parents.first[parent] + nth
    symbol = parents.symbol[parent]
    lean = parents.side[parent] * peers.sector[bucket, truth.sector[symbol]]
    wiggle = np.exp(rng.normal(-0.32, 0.8, len(parent)) + 0.25 * np.clip(lean, -2, 2))
    notional = parents.participation[parent] * wiggle * truth.adv[symbol] / truth.spec.buckets
    lots = np.maximum(1, np.round(notional / (open_px * truth.lot)[symbol]))
    executed = nth < np.ceil(parents.done * length)[parent]
    return Slices(parent, bucket, lots.astype(np.int64) * truth.lot[symbol], executed)
