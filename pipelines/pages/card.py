"""The model card in Markdown: what a release is, who answers and why, and how to read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from crossimpact.estimate import collinear
from crossimpact.estimate.selection import margin
from crossimpact.model import ImpactModel, to_scaled
from crossimpact.release.bundle import Release
from pipelines.pages import card_over_time, card_policy
from pipelines.pages.figures import strongest
from pipelines.pages.markdown import is_number, number, table

Metrics = Mapping[str, Any]
Row = tuple[str, Callable[[Metrics], str]]

#: Test blocks of a record that does not tell them.
MANY = 10_000
#: Pairs shown per regime.
TOP_PAIRS = 10
#: Other ways to explain the same held-out days, weakest first.
RIVALS = {
    "self_only": "self only",
    "factor_rows": "sum of the others' flow, a coefficient per name (not admissible)",
    "lasso_rows": "lasso row by row (not admissible; one penalty above 128 names)",
    "one_factor": "one common factor, symmetric in dollars",
    "sector_block": "template alone",
    "full": "full matrix",
    "placebo": "placebo (the others' flow a session late)",
}

METHOD = """\
Per regime, on normal equations that add up over days:

1. **Self impact** per name by robust regression on own flow, with peer-flow controls; sparse names
   lean on their sector. Flow is linear, or a square root where own flow predicts later days better.
2. **Template**: sector blocks or a Kyle-type matrix, whichever does better on held-out days.
3. **Deviations** of single pairs: a joint symmetric elastic net, penalty by blocked folds of days.
4. **Shrinkage**: posterior of every pair under a spike-and-slab prior: nothing, the template's
   coupling, or its own. Kept are discoveries at a Bayesian false discovery rate of {rate:.0%} and
   the pairs of one sector where their common coupling is significant, if the expected effect
   reaches {least:g} bps at typical flow.
5. **One common factor**: every pair in proportion to its two names' exposures, symmetric in
   dollars; exposures shrunk to own impact and size.
6. **Stability rules** make the matrices admissible; **purged walk-forward** decides who ships. A
   rung above self-only must beat self-only, pooled over all cells and in the mean over names, and
   the placebo, on days not seen by its fit; the largest pooled gain ships.
7. **Market control**: where only a factor that is not symmetric in dollars explains the moves, it
   is taken out of them before 1 to 6, and is never part of a price or a schedule."""

ALIKE = """\
Their flows nearly coincide: the data tell what they move together, not which part is a line's own
impact and which the other's. A pair is split as the correlation of their moves suggests (Kyle's
model); for a line whose flow all others' together make up, those with the largest part are named.
Costs hold where the lines trade together, as they did; trade them apart with care."""

READING = """\
- **Signs.** Cost is positive = worse. `gamma_ij` is bps on i per unit of ADV fraction in j,
  positive when trading both in the same direction costs more together: 1% of ADV of j moves i by a
  hundredth of it. With square-root flow that is so at the reference flow of j only: moves grow
  with the root.
- **Pooled and mean over names.** Pooled R2 weighs every cell by one over its name's noise variance,
  so that no name owns it by its size; it is the surest measure, and the rung is chosen by it. The
  mean over names counts each name's own R2 once and vetoes a rung that loses there.
- **R2 is small.** Own flow explains a few percent of moves in real markets. Read a gain beside its
  standard error (test blocks taken as independent, intervals by Student's t on so many) and beside
  the placebo's, which has no cause. Blocks are parts of a session where days are too few.
- **Slope** is realized on predicted cross cost per bucket, out of sample: 1 is calibrated, below 1
  the matrix promises more than it keeps. The calibration figure is in sample and says so.
- **Standard errors** of gamma are posterior: spread within the slab, and whether the pair is
  coupled at all. They do not cover the choice of template or of rung. All of them are in the
  release: `alpha_se` and `beta_se` of `model-*.json`, the column `se` of `gamma-*.npy`, and the
  same in `crossimpact export self` and `export gamma`.
- **Guardrails** are about the whole bucket's trading: costs per root-sum-square of its notionals.
  Beyond amber trust the matrix less, beyond red go down the ladder.
- **Folds** is the share of time folds in which the elastic net selects the pair by itself. A low
  share beside a large gamma means that the template or the pair's group carries it.
- **Stability rules** are told of the full matrix, whoever answers; those that changed nothing did
  not bind. Couplings moved by `project_psd` or `bound_concave` are smaller than the data alone
  would have them.
- **The smallest eigenvalue** is in units of the own impacts: 1 without cross terms, and below 0 a
  round trip pays. Under square-root flow none is promised within a bucket only.
- **A dash** is a number that does not exist: nothing was held out, or no pair ships."""


def model_card(release: Release) -> str:
    """The card of a release; everything in it is in the release."""
    window, report = release.window, release.report
    lines = [
        f"# Cross-impact release {release.id}",
        "",
        f"As of {release.as_of}: {window.dates} trading dates {window.first} to "
        f"{window.last}, {release.flow} flow in buckets of {release.bucket_s} s.",
        *(f"\n**Note:** {note}." for note in report.get("contract", {}).get("notes", ())),
        *_section("Who answers", card_policy.ladder(release)),
        *_section("Impact over time", card_over_time.over_time(release)),
        *_section("Guardrails", card_policy.guardrails(release)),
        *_section("Certificate", card_policy.certificate(release)),
        *_section(
            "Out of sample",
            [*_verdicts(release), "", *_by_regime(report["metrics"], _verdict_rows())],
        ),
        *_section(
            f"Strongest pairs (at most {TOP_PAIRS} per regime)",
            [line for regime, m in release.models.items() for line in _pairs(regime, m)],
        ),
        *_alike(release),
        *_section("Example", card_policy.examples(release)),
        *_section("Estimation", _by_regime(report["metrics"], ESTIMATION)),
        *_section("Stability rules", _rules(report["stability"])),
        *_section("How to read it", [READING, card_over_time.READING]),
        *_section("Method", [_method(release)]),
        *_section(
            "Provenance",
            [
                f"contract {release.contract_version}, code {release.code_version}, data "
                f"`{release.data_digest}`, release `{release.digest}`"
            ],
        ),
    ]
    return "\n".join(lines) + "\n"


def _method(release: Release) -> str:
    policy = card_policy.decided(release)
    return METHOD.format(rate=policy.false_discovery_rate, least=policy.min_edge_bps)


def _section(title: str, lines: Iterable[str]) -> list[str]:
    return ["", f"## {title}", "", *(tuple(lines) or ("Nothing was fitted.",))]


# -- numbers -------------------------------------------------------------------------------------


def _verdicts(release: Release) -> Iterator[str]:
    """In a line per fitted regime: who won, by how much, and against what."""
    for regime, metrics in release.report["metrics"].items():
        rung, reason = release.fallback[regime].rung, release.fallback[regime].reason
        gain, se = metrics.get("oos_gain"), metrics.get("oos_gain_se")
        yield from _controlled(regime, metrics)
        if rung in ("self_only", "fixed_pov") or not is_number(gain):
            yield f"- **{regime}**: `{rung}` answers: {reason or 'nothing beat it'}."
            continue
        errors = f", {gain / se:.1f} standard errors" if is_number(se) and se > 0 else ""
        placebo = number(metrics.get("placebo_gain"), "+.2%")
        yield (
            f"- **{regime}**: `{rung}` ships. It adds {gain:+.2%} of R2 to self only{errors}; "
            f"the placebo adds {placebo}."
        )


def _controlled(regime: str, metrics: Metrics) -> Iterator[str]:
    """That the market's own move was taken out, where it was."""
    if metrics.get("market_control") != 1.0:
        return
    gain, se = metrics.get("market_gain"), metrics.get("market_gain_se")
    yield (
        f"- **{regime}**: **the market's own move is a control only.** What each name answers to "
        f"the sum of the others' flow adds {number(gain, '+.2%')} ± {number(se, '.2%')} of R2 "
        "over the best rung, but not alike from both sides in dollars, so it is no admissible "
        "impact. It is taken out of the moves before anything is fitted; it is in no price and no "
        "schedule. All R2 below include it."
    )


def _plain(name: str, form: str) -> Callable[[Metrics], str]:
    return lambda metrics: number(metrics.get(name), form)


def _verdict_rows() -> Iterator[Row]:
    for name, text in RIVALS.items():
        yield f"R2, {text}", _held_out(_pooled_and_mean(name))
    yield "test blocks (days)", _held_out(_blocks)
    yield "**gain of what ships over self only**", _coupled(_with_error)
    yield "gain of the placebo", _held_out(_plain("placebo_gain", "+.2%"))
    yield "gain on the fills' slippage alone", _coupled(_plain("oos_slippage_gain", "+.2%"))
    yield "gain of the median name", _coupled(_plain("oos_median_name_gain", "+.2%"))
    yield "share of names better off", _coupled(_plain("oos_names_better", ".0%"))
    yield "R2 of the buckets' cross cost", _coupled(_plain("oos_basket_r2", ".2%"))
    yield "slope of realized on predicted cross cost", _coupled(_slope)


def _pooled_and_mean(name: str) -> Callable[[Metrics], str]:
    """Pooled, and in the mean over names where the record has it."""
    pooled, mean = _plain(f"oos_r2_{name}", ".2%"), _plain(f"oos_name_r2_{name}", ".2%")
    known = f"oos_name_r2_{name}"
    return lambda metrics: (
        f"{pooled(metrics)} / {mean(metrics)}" if known in metrics else pooled(metrics)
    )


def _held_out(show: Callable[[Metrics], str]) -> Callable[[Metrics], str]:
    """A dash where no day could be held out: the record then holds zeros, which were not seen."""
    return lambda metrics: show(metrics) if "oos_gain" in metrics else "-"


def _coupled(show: Callable[[Metrics], str]) -> Callable[[Metrics], str]:
    """A dash where no pair ships: nothing gains over itself."""
    return lambda metrics: show(metrics) if metrics.get("edges") else "-"


def _with_error(metrics: Metrics) -> str:
    gain, se = metrics.get("oos_gain"), metrics.get("oos_gain_se")
    if not (is_number(gain) and is_number(se)):
        return number(gain, "+.2%")
    return f"**{gain:+.2%} ± {se:.2%}**"


def _slope(metrics: Metrics) -> str:
    slope, se = metrics.get("oos_slope"), metrics.get("oos_slope_se")
    if not (is_number(slope) and is_number(se)):
        return "-"
    reach = margin(int(metrics.get("oos_blocks", MANY))) * se
    low, high = slope - reach, slope + reach
    return f"{slope:.2f} (95%: {low:.2f} to {high:.2f})"


def _blocks(metrics: Metrics) -> str:
    blocks, parts = metrics.get("oos_blocks"), metrics.get("parts_of_session", 1)
    if blocks is None:
        return "-"
    return f"{blocks:.0f}" + (f" (each 1/{parts:.0f} of a session)" if parts > 1 else "")


def _flow(metrics: Metrics) -> str:
    concave = metrics.get("sqrt_flow")
    return "-" if concave is None else "square root" if concave else "linear"


def _certified(metrics: Metrics) -> str:
    admissible, concave = metrics.get("no_profitable_round_trip"), metrics.get("sqrt_flow")
    if admissible is None:
        return "-"
    if not admissible:
        return "**there is one**"
    return "none found within a bucket" if concave else "none exists (proved)"


ESTIMATION: tuple[Row, ...] = (
    ("buckets", _plain("buckets", ",.0f")),
    ("cells left out as impossible", _plain("cells_left_out", ",.0f")),
    ("flow", _flow),
    ("weight of the fills' slippage (rest: mid move)", _plain("slippage_share", ".0%")),
    ("couplings in the template", _plain("template_couplings", ",.0f")),
    ("pairs selected in half of the folds", _plain("selected_pairs", ",.0f")),
    ("pairs kept after shrinkage", _plain("kept_pairs", ",.0f")),
    ("coupled pairs that ship", _plain("edges", ",.0f")),
    ("share of entries capped", _plain("capped_share", ".1%")),
    ("profitable round trip", _certified),
    ("smallest eigenvalue (own impacts = 1)", _plain("psd_margin", ".3f")),
    ("condition number", _plain("condition_number", ",.3g")),
)


def _by_regime(metrics: Mapping[str, Metrics], rows: Iterable[Row]) -> list[str]:
    return table(("", *metrics), ((text, *map(show, metrics.values())) for text, show in rows))


# -- pairs and rules -----------------------------------------------------------------------------


def _pairs(regime: str, model: ImpactModel) -> list[str]:
    """The regime's strongest pairs, both directions, with error and selection frequency."""
    if not model.edges:
        return [f"**{regime}**: no pair ships.", ""]
    M = to_scaled(model.gamma, model.adv)
    rows = (
        (
            f"{model.symbols[i]} / {model.symbols[j]}",
            model.sectors[i] if model.sectors[i] == model.sectors[j] else "across",
            f"{model.gamma[i, j]:+,.0f} ± {number(float(model.gamma_se[i, j]), ',.0f')}",
            f"{model.gamma[j, i]:+,.0f} ± {number(float(model.gamma_se[j, i]), ',.0f')}",
            f"{M[i, j] / np.sqrt(model.beta[i] * model.beta[j]):+.2f}",
            number(float(model.gamma_frequency[i, j]), ".0%"),
        )
        for i, j in zip(*strongest(np.abs(M + M.T) / 2, TOP_PAIRS), strict=True)
    )
    head = ("i / j", "sector", "gamma_ij ± se", "gamma_ji ± se", "of own impacts", "folds")
    return [f"**{regime}**{_at_reference(model)}", "", *table(head, rows), ""]


def _alike(release: Release) -> list[str]:
    """Lines that cannot be told apart, per regime; no section where there are none."""
    rows = [
        (
            " / ".join(row["lines"]),
            regime,
            number(row["correlation"], ".3f"),
            number(row["condition"], ",.0f"),
            number(row["limit"], ",.0f"),
        )
        for regime, model in release.models.items()
        for row in model.provenance.get(collinear.KEY, ())
    ]
    head = ("lines", "regime", "correlation of flows", "condition", "limit")
    title = "Lines that cannot be told apart"
    return _section(title, [ALIKE, "", *table(head, rows)]) if rows else []


def _at_reference(model: ImpactModel) -> str:
    if model.transform == "linear":
        return ""
    typical = float(np.median(model.reference))
    return f", square-root flow: gamma at the reference flow (median name: {typical:.2%} of ADV)"


def _rules(stability: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[str]:
    """What bound, in words, then what every rule saw."""
    rows = [
        f"- **{regime}**: " + ("; ".join(bound) or "no rule changed anything.")
        for regime, rows in stability.items()
        if (bound := [_bound(row) for row in rows if row["changed"]]) or rows
    ]
    head = ("regime", "rule", "value", "limit", "entries changed", "action")
    rules = (
        (
            regime,
            row["rule"],
            number(row["value"], ".4g"),
            number(row["limit"], ".4g"),
            f"{row['changed']:,}",
            row["action"],
        )
        for regime, rows in stability.items()
        for row in rows
    )
    return [*rows, "", *table(head, rules)] if rows else ["No matrix was fitted."]


def _bound(row: Mapping[str, Any]) -> str:
    return f"`{row['rule']}` changed {row['changed']:,} entries ({row['action']})"
