"""What the card, `show` and the figure say of impact over time is what the release holds."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from crossimpact.estimate.lag_curve import LagCurve
from crossimpact.kernel.decay import Decay, DecayErrors
from crossimpact.model import ImpactModel
from crossimpact.release.bundle import Release
from pipelines.pages import card_over_time
from pipelines.pages.decay_figure import decay_curve
from tests.pipelines.tca_desk import model, release

LAGS = tuple(5.0 * k for k in range(13))
ERRORS = DecayErrors(
    half_life_lo=23.0, half_life_hi=40.0, permanent_lo=0.16, permanent_hi=0.37,
    scale_self_se=0.05, scale_cross_se=0.09, lags_min=LAGS, se_self=(0.05,) * 13,
    se_cross=(0.1,) * 13,
)  # fmt: skip
FADES = Decay((0.3, 0.7), (0.0, np.log(2) / 29), 1.62, 1.71, 5.0, errors=ERRORS)
STAYS = Decay((1.0,), (0.0,), 1.5, 1.4, 5.0)
PLACEBO = {"own": 0.02, "own_se": 0.04, "cross": -0.1, "cross_se": 0.2, "p": 0.61}
SAFE = {
    "admissible": True, "linear_admissible": True, "smallest_eigenvalue": 0.123,
    "profit_usd": 0.0, "method": "proof",
}  # fmt: skip


def timed(kernel: Decay | None) -> ImpactModel:
    return replace(model(), kernel=kernel)


def of(kernel: Decay | None, decay: Mapping[str, Any] | None, **metrics: float) -> Release:
    report = {"metrics": {"normal": metrics}, **({"decay": decay} if decay else {})}
    return replace(release(timed(kernel)), report=report)


def rows(found: Release) -> dict[str, str]:
    lines = [line for line in card_over_time.over_time(found) if line.startswith("| ")]
    return {row[0]: row[1] for row in (line[2:-2].split(" | ") for line in lines)}


def test_the_card_tells_the_kernel_its_intervals_and_what_it_moved() -> None:
    report = {"status": "decays", "reason": "one rate", "placebo": PLACEBO,
              "certificate": {"normal": SAFE}}  # fmt: skip
    found = of(FADES, report, gamma_by_decay=1.13, beta_by_decay=0.97, couplings_borne=0.93,
               decay_gain=0.011, decay_gain_se=0.002, decay_slope=1.02, decay_slope_lo=0.9,
               decay_slope_hi=1.14, decay_days=20.0)  # fmt: skip
    told = rows(found)
    assert told["**half-life of what fades, minutes** (95%)"] == "29 (23 to 40)"
    assert told["**share that stays** (95%)"] == "30% (16% to 37%)"
    assert told["the mid keeps at the bucket's end, per bps its fills paid: own"] == "1.62 ± 0.05"
    assert told["the mid keeps at the bucket's end, per bps its fills paid: cross"] == "1.71 ± 0.09"
    moved = "decay moved {}: net of what earlier buckets left, over as seen"
    assert (told[moved.format("gamma")], told[moved.format("beta")]) == ("1.13", "0.97")
    assert told["share of the couplings the kernel bears"] == "**93%**"
    assert told["slope of later days' moves on the prediction (95%)"] == "1.02 (0.90 to 1.14)"
    text = "\n".join(card_over_time.over_time(found))
    assert "Impact decays and outlives its bucket**: one rate." in text
    assert "own +0.02 ± 0.04, cross -0.10 ± 0.20" in text
    assert "no round trip over buckets makes money (proof; smallest eigenvalue 0.123" in text


@pytest.mark.parametrize(
    ("certificate", "told"),
    [
        ({"linear_admissible": False, "profit_usd": 1234.0}, "earns 1,234 USD**"),
        ({"admissible": False}, "it measures and does not optimise"),
    ],
)
def test_a_round_trip_that_pays_is_told(certificate: dict[str, Any], told: str) -> None:
    report = {"status": "decays", "reason": "", "certificate": {"normal": SAFE | certificate}}
    assert told in "\n".join(card_over_time.over_time(of(FADES, report)))


def test_one_line_says_how_long_impact_lives_and_why_not() -> None:
    fades = {"status": "decays", "reason": "a permanent part and one rate"}
    assert card_over_time.in_words(of(FADES, fades, gamma_by_decay=1.1), "normal") == (
        "half-life 29 (23 to 40) min, 30% (16% to 37%) stays; the mid keeps 1.62 ± 0.05 of own, "
        "1.71 ± 0.09 of cross; decay moved gamma x 1.10"
    )
    stays = {"status": "permanent", "reason": "not separable from permanent: a reason"}
    assert card_over_time.in_words(of(STAYS, stays), "normal") == (
        "stays: not separable from permanent: a reason; the mid keeps 1.50 of own, 1.40 of cross"
    )
    unknown = {"status": "unknown", "reason": "3 sessions with flow and moves, 5 needed"}
    told = card_over_time.in_words(of(None, unknown), "normal")
    assert told == "bucket model: 3 sessions with flow and moves, 5 needed"
    assert card_over_time.in_words(of(None, None), "normal") == card_over_time.NEVER
    assert card_over_time.in_words(of(FADES, fades), "stressed") == ""


def test_a_release_without_a_kernel_says_so_on_the_card() -> None:
    assert card_over_time.over_time(of(None, None)) == [card_over_time.NEVER]
    (verdict, *_) = card_over_time.over_time(of(None, {"status": "gone", "reason": "why"}))
    assert verdict == "**Nothing outlives its bucket**: why."
    assert rows(of(None, {"status": "gone", "reason": "why"}))[
        "**half-life of what fades, minutes** (95%)"
    ] == "-"  # fmt: skip


def test_the_decay_figure_is_a_repeatable_picture_of_its_kernel_and_curve() -> None:
    at = np.array(LAGS)
    flat = np.full(13, 0.1)
    curve = LagCurve(at, FADES.value(at), flat, FADES.value(at), flat)
    drawn = decay_curve(timed(FADES), curve)
    assert drawn == decay_curve(timed(FADES), curve)
    assert min(Image.open(io.BytesIO(drawn)).size) > 300
    others = (decay_curve(timed(FADES)), decay_curve(timed(STAYS), curve),
              decay_curve(timed(FADES).self_only(), curve))  # fmt: skip
    assert len({drawn, *others}) == 4
    with pytest.raises(ValueError, match="has no kernel to draw"):
        decay_curve(timed(None))
