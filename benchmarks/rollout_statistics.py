"""How a rollout's statistics keep their word: false alarms, power, coverage, delay, share.

    PYTHONPATH=. .venv/bin/python -m benchmarks.rollout_statistics [--quarters 200]

Simulated slices of `tests/crossimpact/rollout/desk.py`: a day factor of 15 bps, baskets of 35 bps
with four degrees of freedom, sizes lognormal, drawn by the real mechanism at a share of 0.25.
"""

from __future__ import annotations

import argparse

import numpy as np

from crossimpact.rollout import confidence
from crossimpact.rollout.effect import adjusted, effect_path
from crossimpact.rollout.randomisation_test import alarm, p_value
from crossimpact.rollout.tail import STATISTICS, tail_effects
from tests.crossimpact.rollout.desk import slice_of

ALPHA, PLANNED, QUARTER = 0.05, 60, 63
WEIGHTS = np.array([1.0, 0.5, 0.0])


def main() -> None:
    """Print the tables."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--quarters", type=int, default=200)
    quarters = words.parse_args().quarters
    false_alarms(quarters)
    power(quarters)
    delays(quarters // 4)
    tails(quarters // 2)
    shares()


def false_alarms(quarters: int) -> None:
    """A/A quarters that see a bound leave zero out, an alarm, or a small p-value."""
    print("\n| A/A quarters | bounds leave 0 out | harm alarm | exact p below .05 |")
    print("| --- | ---: | ---: | ---: |")
    for baskets in (10, 40):
        seen = []
        for seed in range(quarters):
            of, mechanism = slice_of.__wrapped__(QUARTER, baskets, seed=10_000 + 2 * seed)
            y = adjusted(of, WEIGHTS)
            _, _, low, high = effect_path(of, y, alpha=ALPHA, planned_days=PLANNED)
            told = bool(alarm(of, y, margin=0.0, alpha=ALPHA, draws=99).raised)
            seen.append((bool(((low > 0) | (high < 0)).any()), told,
                         p_value(of, y, mechanism, draws=99, seed=seed) < 0.05))  # fmt: skip
        shares = " | ".join(f"{share:.1%}" for share in np.mean(seen, axis=0))
        print(f"| {quarters} of {baskets} baskets a day | {shares} |")


def power(quarters: int) -> None:
    """Power as quarters state it, their mean, against the share that shows the effect."""
    print("\n| days x baskets | effect, bps | stated power | simulated |")
    print("| --- | ---: | ---: | ---: |")
    for days, baskets, size in ((63, 10, 8), (63, 10, 12), (63, 10, 16), (63, 40, 5), (126, 40, 5)):
        shown, sds = 0, []
        for seed in range(quarters):
            of, _ = slice_of.__wrapped__(days, baskets, seed=30_000 + 2 * seed)
            y = adjusted(of, WEIGHTS) - size * of.treated
            _, se, low, high = effect_path(of, y, alpha=ALPHA, planned_days=PLANNED)
            shown += bool(((low > 0) | (high < 0)).any())
            sds.append(se[-1] * np.sqrt(days))
        each = [confidence.power(size, sd, days, ALPHA, PLANNED) for sd in sds[:: quarters // 50]]
        stated = float(np.mean(each))
        print(f"| {days} x {baskets} | {size} | {stated:.2f} | {shown / quarters:.2f} |")


def delays(runs: int) -> None:
    """Days until the harm alarm."""
    print("\n| harm, bps | baskets a day | share seen in a quarter | median days |")
    print("| ---: | ---: | ---: | ---: |")
    for size in (10, 20, 40):
        for baskets in (10, 40):
            found = []
            for seed in range(runs):
                of, _ = slice_of.__wrapped__(QUARTER, baskets, effect=size, seed=50_000 + 2 * seed)
                raised = alarm(of, adjusted(of, WEIGHTS), margin=0.0, alpha=ALPHA).raised
                found.append(of.days.tolist().index(raised) + 1 if raised else np.inf)
            seen = np.isfinite(found)
            median = f"{np.median(np.array(found)[seen]):.0f}" if seen.any() else "-"
            print(f"| {size} | {baskets} | {seen.mean():.0%} | {median} |")


def tails(runs: int) -> None:
    """Coverage of the bootstrap's 95% intervals without an effect."""
    print("\n| days x baskets | " + " | ".join(STATISTICS) + " |")
    print("| --- |" + " ---: |" * len(STATISTICS))
    for days, baskets in ((20, 40), (60, 20), (250, 40)):
        held: dict[str, list[bool]] = {name: [] for name in STATISTICS}
        for seed in range(runs if days < 250 else runs // 4):
            of, _ = slice_of.__wrapped__(days, baskets, seed=70_000 + 2 * seed)
            for name, row in tail_effects(of, draws=500, seed=seed).items():
                held[name].append(row.low <= 0 <= row.high)
        cells = " | ".join(f"{np.mean(values):.0%}" for values in held.values())
        print(f"| {days} x {baskets} | {cells} |")


def shares() -> None:
    """Months whose share of notional is within two points of the design's."""
    print("\n| baskets a day | months within two points | sd, points |")
    print("| ---: | ---: | ---: |")
    for baskets in (10, 20, 40):
        found = []
        for seed in range(20):
            of, mechanism = slice_of.__wrapped__(21, baskets, seed=90_000 + 2 * seed)
            treated, _ = mechanism.draw(of, of.uniforms(200, seed))
            found.extend(treated @ of.notional_usd / of.notional_usd.sum())
        off = np.array(found) - 0.25
        print(f"| {baskets} | {np.mean(np.abs(off) < 0.02):.1%} | {100 * off.std():.2f} |")


if __name__ == "__main__":
    main()
