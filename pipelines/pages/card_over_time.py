"""What the model card says of impact over time: how long it lives, and what fills pay of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from crossimpact.kernel.decay import Decay
from crossimpact.model import ImpactModel
from crossimpact.release.bundle import Release
from pipelines.pages.markdown import is_number, number, table

#: What a regime's column is told from: its metrics and its model.
Row = tuple[str, Callable[[Mapping[str, Any], ImpactModel], str]]

WHO = {"own": "", "market": ", the market's", "unknown": ", **not told: the mid's own**"}
VERDICT = {
    "decays": "Impact decays and outlives its bucket",
    "permanent": "No decay ships: what is left stays",
    "gone": "Nothing outlives its bucket",
    "unknown": "Not known; a bucket is priced by its own flow alone",
}
NEVER = "Made without a decay kernel: a bucket is priced by its own flow alone."


def over_time(release: Release) -> list[str]:
    """The verdict, then per fitted regime how long impact lives and how large it is."""
    decay = release.report.get("decay")
    if not decay:
        return [NEVER, *_breaks(release)]
    reason = f": {decay['reason']}" if decay["reason"] else ""
    metrics = release.report.get("metrics", {})
    columns = [(metrics.get(regime, {}), model) for regime, model in release.models.items()]
    rows = ((text, *(show(*column) for column in columns)) for text, show in ROWS)
    return [
        f"**{VERDICT[decay['status']]}**{reason}.",
        "",
        *table(("", *release.models), rows),
        *_notes(release, decay),
        *_breaks(release),
    ]


def _breaks(release: Release) -> Iterator[str]:
    """Regimes whose couplings moved inside the window (`estimate.structural_break`)."""
    for regime, model in release.models.items():
        if row := model.provenance.get("break"):
            yield ""
            yield (
                f"**{regime}: couplings moved inside the window**, by {row['change']:.0%} from "
                f"{row['from']} on (p {row['p']:.3f}). They are fitted on "
                "what came after; the whole window lends."
            )


def in_words(release: Release, regime: str) -> str:
    """How long impact lives in a regime, in one line; empty where no model was fitted."""
    model = release.models.get(regime)
    if model is None:
        return ""
    decay = release.report.get("decay")
    if model.kernel is None:
        return f"bucket model: {decay['reason']}" if decay and decay["reason"] else NEVER
    metrics = release.report.get("metrics", {}).get(regime, {})
    own, cross = (_scale(kind)({}, model) for kind in ("self", "cross"))
    kept = f"the mid keeps {own} of own, {cross} of cross"
    changed = [
        f"{name} x {metrics[f'{name}_by_decay']:.2f}"
        for name in ("gamma", "beta")
        if is_number(metrics.get(f"{name}_by_decay"))
    ]
    if model.kernel.permanent == 1:
        lives = f"stays: {decay['reason']}" if decay and decay["reason"] else "stays"
    else:
        lives = f"half-life {half_life(model.kernel)} min, {permanent(model.kernel)} stays"
    return "; ".join((lives, kept, *(("decay moved " + ", ".join(changed),) if changed else ())))


def _notes(release: Release, decay: Mapping[str, Any]) -> Iterator[str]:
    if control := decay.get("placebo"):
        shares = (
            f"{name} {control[name]:+.2f} ± {control[f'{name}_se']:.2f}"
            for name in ("own", "cross")
            if is_number(control[name]) and is_number(control[f"{name}_se"])
        )
        yield ""
        yield (
            "Placebo, flows a session late as a share of what the kernel says of them: "
            f"{', '.join(shares) or '-'} (0 without a cause; by noise alone p = "
            f"{number(control['p'], '.2g')})."
        )
    for regime, row in decay.get("certificate", {}).items():
        yield from ("", f"- **{regime}**: {_certified(row)}.")


def _certified(row: Mapping[str, Any]) -> str:
    size = f"smallest eigenvalue {number(row['smallest_eigenvalue'], '.3f')} of the own impacts"
    if not row["linear_admissible"]:
        return (
            f"**a round trip over buckets earns {number(row['profit_usd'], ',.0f')} USD** ({size})"
        )
    if row["admissible"]:
        return f"no round trip over buckets makes money ({row['method']}; {size})"
    return (
        f"no round trip over buckets makes money with linear flow, as schedules use it ({size}); "
        "with square-root flow one is known, so that it measures and does not optimise"
    )


# -- rows ----------------------------------------------------------------------------------------


def half_life(kernel: Decay | None) -> str:
    """Minutes with the interval where one is known; what stays has none."""
    if kernel is None or kernel.permanent == 1:
        return "-"
    errors = kernel.errors
    return _between(kernel.half_life_min, errors.half_life_lo, errors.half_life_hi, ",.0f")


def permanent(kernel: Decay | None) -> str:
    """The share that stays, with its interval where one is known."""
    if kernel is None:
        return "-"
    return _between(kernel.permanent, kernel.errors.permanent_lo, kernel.errors.permanent_hi, ".0%")


def _between(value: float, low: float | None, high: float | None, form: str) -> str:
    reach = "" if low is None or high is None else f" ({low:{form}} to {high:{form}})"
    return f"{value:{form}}{reach}"


def _scale(kind: str) -> Callable[[Mapping[str, Any], ImpactModel], str]:
    def show(_: Mapping[str, Any], model: ImpactModel) -> str:
        if model.kernel is None:
            return "-"
        se = getattr(model.kernel.errors, f"scale_{kind}_se")
        return f"{getattr(model.kernel, f'scale_{kind}'):.2f}" + (f" ± {se:.2f}" if se else "")

    return show


def _ratio(kind: str) -> Callable[[Mapping[str, Any], ImpactModel], str]:
    def show(_: Mapping[str, Any], model: ImpactModel) -> str:
        ratio = model.provenance.get("fill_ratio", {}).get(kind)
        if not ratio:
            return "-"
        se = f" ± {ratio['se']:.2f}" if is_number(ratio["se"]) else ""
        return f"{ratio['value']:.2f}{se}{WHO[ratio['source']]}"

    return show


def _moved(kind: str) -> Callable[[Mapping[str, Any], ImpactModel], str]:
    return lambda metrics, _: number(metrics.get(f"{kind}_by_decay"), ".2f")


def _borne(metrics: Mapping[str, Any], _: ImpactModel) -> str:
    share = metrics.get("couplings_borne")
    return f"**{share:.0%}**" if is_number(share) and share < 1 else number(share, ".0%")


def _gain(metrics: Mapping[str, Any], _: ImpactModel) -> str:
    gain, se = metrics.get("decay_gain"), metrics.get("decay_gain_se")
    return f"{gain:+.2%} ± {se:.2%}" if is_number(gain) and is_number(se) else "-"


def _slope(metrics: Mapping[str, Any], _: ImpactModel) -> str:
    value, low, high = (metrics.get(f"decay_slope{end}") for end in ("", "_lo", "_hi"))
    return _between(value, low, high, ".2f") if is_number(value) else "-"


def _days(metrics: Mapping[str, Any], _: ImpactModel) -> str:
    return number(metrics.get("decay_days"), ",.0f")


ROWS: tuple[Row, ...] = (
    ("**half-life of what fades, minutes** (95%)", lambda _, model: half_life(model.kernel)),
    ("**share that stays** (95%)", lambda _, model: permanent(model.kernel)),
    ("the mid keeps at the bucket's end, per bps its fills paid: own", _scale("self")),
    ("the mid keeps at the bucket's end, per bps its fills paid: cross", _scale("cross")),
    ("fills pay, per bps the mid keeps: own", _ratio("own")),
    ("fills pay, per bps the mid keeps: cross", _ratio("cross")),
    ("decay moved gamma: net of what earlier buckets left, over as seen", _moved("gamma")),
    ("decay moved beta: net of what earlier buckets left, over as seen", _moved("beta")),
    ("share of the couplings the kernel bears", _borne),
    ("R2 of later days' moves beyond impact that stays", _gain),
    ("slope of later days' moves on the prediction (95%)", _slope),
    ("sessions with flow", _days),
)

READING = """\
- **Over time.** What a bucket moved is carried into the next ones, `scale g(t)` of it a time t
  after the bucket's end: a share stays, the rest halves every half-life. Gamma and beta are fitted
  on moves free of what earlier buckets left, and are what fills pay, which the mid's moves tell
  once multiplied by the ratio of the two. Couplings beyond the share that the kernel bears would
  let a round trip make money; all are made smaller by it."""
