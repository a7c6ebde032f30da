"""The model card: who answers, on what evidence, and nothing that the release does not hold."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student

from crossimpact.estimate.guardrail_levels import levels
from crossimpact.estimate.refit import fit_regime
from crossimpact.estimate.structural_break import Break
from crossimpact.model import ImpactModel
from crossimpact.release.bundle import Release
from crossimpact.release.content import Guardrail, Policy, Window
from pipelines import record
from pipelines.pages import card_over_time
from pipelines.pages.card import model_card
from tests.crossimpact.estimate.desk import draw

POV = {"full": 0.15, "sector_block": 0.12, "one_factor": 0.11, "self_only": 0.1, "fixed_pov": 0.05}

DIGEST = "d" * 64
STRESS = Policy("fixed_pov", "0 stressed buckets, 60 needed", POV)


def release(normal: dict, stressed: dict | None = None) -> Release:
    """A release of regime fits as `record.of_fit` gives them."""
    fits = {"normal": normal} | ({"stressed": stressed} if stressed else {})
    policy = {regime: Policy(fit["rung"], fit["reason"], POV) for regime, fit in fits.items()}
    return Release(
        as_of="2026-03-31",
        window=Window("2026-01-02", "2026-03-31", 60),
        flow="own",
        bucket_s=300,
        contract_version="1",
        code_version="0.1.0",
        data_digest=DIGEST,
        models={r: ImpactModel.from_dict(f["model"]) for r, f in fits.items() if f["model"]},
        fallback={"stressed": STRESS, **policy, "unknown": STRESS},
        lower={
            r: {rung: ImpactModel.from_dict(m) for rung, m in f["lower"].items()}
            for r, f in fits.items()
            if f["rung"] == "full"
        },
        guardrails={
            r: {name: Guardrail(**level) for name, level in f["guardrails"].items()}
            for r, f in fits.items()
            if f["model"]
        },
        report={
            "certificate": {r: f["certificate"] for r, f in fits.items() if f["model"]},
            "metrics": {regime: fit["metrics"] for regime, fit in fits.items()},
            "stability": {regime: fit["stability"] for regime, fit in fits.items()},
        },
    )


@pytest.fixture(scope="module")
def panel():
    return draw(T=2400)[0]


def recorded(panel, regime: str) -> dict:
    made = record.of_fit(fit_regime(panel, regime), DIGEST)
    if made.model is not None:
        made = replace(made, guardrails=levels(made.model, panel, 5.0))
    return json.loads(json.dumps(made.to_dict()))


@pytest.fixture(scope="module")
def fitted(panel) -> dict:
    return recorded(panel, "normal")


def test_lines_that_cannot_be_told_apart_are_named_with_their_condition(panel, fitted):
    assert "cannot be told apart" not in model_card(release(fitted))
    q = panel.q.copy()
    q[:, 1] = q[:, 0] * np.random.default_rng(0).normal(1.0, 0.1, len(q))
    alike = replace(panel, q=q, s=np.where(q != 0, np.nan_to_num(panel.s), np.nan))
    text = section(
        model_card(release(recorded(alike, "normal"))), "Lines that cannot be told apart"
    )
    row = cells(text)["S0 / S1"]
    assert row[0] == "normal" and float(row[1]) > 0.98
    assert float(row[2].replace(",", "")) > float(row[3]) == 30


def test_couplings_that_moved_inside_the_window_are_dated(fitted):
    made = release(fitted)
    assert "moved inside the window" not in model_card(made)
    found = Break(block=7, p_value=0.001, change=0.35, date="2026-02-10").recorded()
    models = {
        regime: replace(model, provenance={**model.provenance, **found})
        for regime, model in made.models.items()
    }
    text = section(model_card(replace(made, models=models)), "Impact over time")
    assert "moved inside the window**, by 35% from 2026-02-10 on (p 0.001)" in text


def section(card: str, title: str) -> str:
    return card.split(f"## {title}")[1].split("\n## ")[0]


def cells(text: str) -> dict[str, list[str]]:
    """Rows of the section's tables by their first cell."""
    rows = [re.split(r"(?<!\\) \| ", line[2:-2]) for line in text.splitlines() if line[:2] == "| "]
    return {row[0]: row[1:] for row in rows}


def test_the_verdict_names_every_baseline_and_its_uncertainty(fitted):
    metrics = fitted["metrics"]
    table = cells(section(model_card(release(fitted)), "Out of sample"))
    for text, name in {
        "R2, self only": "self_only",
        "R2, one common factor, symmetric in dollars": "one_factor",
        "R2, sum of the others' flow, a coefficient per name (not admissible)": "factor_rows",
        "R2, lasso row by row (not admissible; one penalty above 128 names)": "lasso_rows",
        "R2, template alone": "sector_block",
        "R2, full matrix": "full",
        "R2, placebo (the others' flow a session late)": "placebo",
    }.items():
        pooled, mean = metrics[f"oos_r2_{name}"], metrics[f"oos_name_r2_{name}"]
        assert table[text] == [f"{pooled:.2%} / {mean:.2%}"]
    gain, se = metrics["oos_gain"], metrics["oos_gain_se"]
    assert table["**gain of what ships over self only**"] == [f"**{gain:+.2%} ± {se:.2%}**"]
    slope, se = metrics["oos_slope"], metrics["oos_slope_se"]
    (told,) = table["slope of realized on predicted cross cost"]
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d+", told)]
    reach = student.isf(0.025, metrics["oos_blocks"] - 1) * se
    assert numbers == pytest.approx([slope, slope - reach, slope + reach], abs=0.006)


def test_the_strongest_pairs_are_the_models(fitted):
    shipped = ImpactModel.from_dict(fitted["model"])
    text = section(model_card(release(fitted)), "Strongest pairs (at most 10 per regime)")
    rows = {name: row for name, row in cells(text).items() if name not in ("i / j", "---")}
    assert len(rows) == min(10, shipped.edges) > 0
    for name, (sector, there, back, _, folds) in rows.items():
        i, j = (shipped.symbols.index(symbol) for symbol in name.split(" / "))
        assert there == f"{shipped.gamma[i, j]:+,.0f} ± {shipped.gamma_se[i, j]:,.0f}"
        assert back == f"{shipped.gamma[j, i]:+,.0f} ± {shipped.gamma_se[j, i]:,.0f}"
        assert folds == f"{shipped.gamma_frequency[i, j]:.0%}"
        assert (sector == "across") == (shipped.sectors[i] != shipped.sectors[j])


def test_the_ladder_tells_every_rung_and_who_answers(fitted):
    told = release(fitted)
    table = cells(section(model_card(told), "Who answers"))
    full, lower = told.models["normal"].edges, told.lower["normal"]["sector_block"].edges
    factor = told.lower["normal"]["one_factor"].edges
    assert table["regime"] == [*POV, "why not the rung above"]
    assert table["normal"] == [
        f"**15%, {full} pairs**", f"12%, {lower} pairs", f"11%, {factor} pairs", "10%",
        "5%", fitted["reason"] or "-",
    ]  # fmt: skip
    assert table["stressed"] == ["-", "-", "-", "-", "**5%**", STRESS.reason]


def test_guardrails_are_told_with_their_units(fitted):
    told = fitted["guardrails"]
    text = section(model_card(release(fitted)), "Guardrails")
    cross, ages = told["cpi_bps"], told["data_age_s"]
    row = f"predicted cross cost of a bucket (CPI) | {cross['amber']:,.2f} bps of notional | "
    assert f"| normal | {row}{cross['red']:,.2f} bps of notional |" in text
    assert f"| age of the market data | {ages['amber']:.0f} s | {ages['red']:.0f} s |" in text
    assert "CPI amber by 30%, red by 10%; IBB amber by 20%, red by 5%" in text


def test_an_older_releases_levels_are_told_as_such(fitted):
    older = {"q_adv": {"amber": 0.01, "red": 0.02}}
    text = section(model_card(release({**fitted, "guardrails": older})), "Guardrails")
    assert "| flow of one name, either way | 1.00% of ADV | 2.00% of ADV |" in text
    assert "a live loop starts amber and stays so" in text


def test_the_certificate_says_proved_or_what_the_round_trip_earns(fitted):
    text = section(model_card(release(fitted)), "Certificate")
    assert "- **normal**: no round trip makes money (proved; smallest eigenvalue" in text
    broken = {
        **fitted["certificate"], "admissible": False, "round_trip": [[0.01], [-0.01]],
        "profit_usd": 1234.4,
    }  # fmt: skip
    text = section(model_card(release({**fitted, "certificate": broken})), "Certificate")
    assert "**a round trip of 2 buckets earns 1,234 USD**" in text


def test_the_example_is_the_models_own_arithmetic(fitted):
    told = release(fitted)
    model, text = told.models["normal"], section(model_card(told), "Example")
    rows = re.findall(r"\| normal \| (\S+) \| \+1% \| (\S+) bps \| (\S+) bps \|", text)
    i, j = (model.symbols.index(symbol) for symbol, *_ in rows)
    numbers = [[float(number) for number in row[1:]] for row in rows]
    expected = [0.01 * model.beta[[i, j]], [0.01 * model.gamma[i, j], 0.01 * model.gamma[j, i]]]
    np.testing.assert_allclose(np.array(numbers).T, expected, atol=0.051)


def test_every_rule_is_listed_and_what_bound_is_said(fitted):
    text = section(model_card(release(fitted)), "Stability rules")
    for row in fitted["stability"]:
        assert f"| normal | {row['rule']} |" in text
        said = f"`{row['rule']}` changed {row['changed']:,} entries" in text
        assert said == bool(row["changed"])
    bound = [dict(fitted["stability"][0], changed=6, action="averaged")]
    text = section(model_card(release({**fitted, "stability": bound})), "Stability rules")
    assert "**normal**: `symmetrise` changed 6 entries (averaged)" in text


def test_a_regime_without_a_matrix_says_why(panel, fitted):
    nothing = recorded(panel, "stressed")
    assert nothing["paths"] is None
    card = model_card(release(fitted, nothing))
    assert f"- **stressed**: `fixed_pov` answers: {STRESS.reason}." in card
    assert cells(section(card, "Out of sample"))["R2, full matrix"][1] == "-"


def test_a_self_only_regime_has_no_pairs(fitted):
    model = ImpactModel.from_dict(fitted["model"]).self_only().to_dict()
    alone = {**fitted, "rung": "self_only", "reason": "cross terms add -1%", "model": model}
    card = model_card(release(alone))
    assert "**normal**: no pair ships." in card
    assert "- **normal**: `self_only` answers: cross terms add -1%." in card
    alone["metrics"] = {**fitted["metrics"], "edges": 0.0}
    table = cells(section(model_card(release(alone)), "Out of sample"))
    pooled, mean = (fitted["metrics"][f"oos_{kind}_self_only"] for kind in ("r2", "name_r2"))
    assert table["R2, self only"] == [f"{pooled:.2%} / {mean:.2%}"]
    assert table["gain of the placebo"] != ["-"]
    for told in ("**gain of what ships over self only**", "share of names better off"):
        assert table[told] == ["-"]


def test_a_market_that_is_a_control_only_is_said(fitted):
    told = {"market_control": 1.0, "market_gain": 0.021, "market_gain_se": 0.004}
    card = section(
        model_card(release({**fitted, "metrics": {**fitted["metrics"], **told}})), "Out of sample"
    )
    assert "**the market's own move is a control only.**" in card
    assert "adds +2.10% ± 0.40% of R2 over the best rung" in card
    assert "it is in no price and no schedule" in card
    assert "control only" not in model_card(release(fitted))


def test_what_was_never_held_out_is_a_dash_not_a_zero(panel):
    few = panel.where(panel.date == panel.date[0])
    fit = json.loads(json.dumps(record.of_fit(fit_regime(few, "normal"), DIGEST).to_dict()))
    assert "no out-of-sample verdict" in fit["reason"]
    card = section(model_card(release(fit)), "Out of sample")
    numbers = cells(card)
    assert len(numbers) > 10
    assert all(row in (["-"], ["normal"], ["---"]) for row in numbers.values()), numbers


def test_square_root_flow_is_named_with_its_reference_flow(fitted):
    linear = ImpactModel.from_dict(fitted["model"])
    concave = replace(linear, transform="sqrt", reference=np.full(linear.n, 0.0025))
    flow = {**fitted["metrics"], "sqrt_flow": 1.0}
    card = model_card(release({**fitted, "model": concave.to_dict(), "metrics": flow}))
    assert "gamma at the reference flow (median name: 0.25% of ADV)" in card
    assert cells(card)["profitable round trip"] == ["none found within a bucket"]
    card = model_card(release(fitted))
    assert "gamma at the reference flow (" not in card
    assert cells(card)["profitable round trip"] == ["none exists (proved)"]


@pytest.mark.parametrize("lost", ["oos_gain_se", "oos_slope", "condition_number"])
def test_what_is_not_finite_or_not_there_is_a_dash(fitted, lost):
    for metrics in (
        {**fitted["metrics"], lost: "nan"},
        {name: value for name, value in fitted["metrics"].items() if name != lost},
    ):
        card = model_card(release({**fitted, "metrics": metrics}))
        assert not re.search(r"\bnan\b", card)


def test_a_bar_in_a_name_does_not_break_the_table(fitted):
    named = ImpactModel.from_dict(fitted["model"])
    named = replace(named, symbols=("A|B", *named.symbols[1:]))
    card = model_card(release({**fitted, "model": named.to_dict(), "lower": {}}))
    rows = [line for line in card.splitlines() if line.startswith("| A\\|B / ")]
    assert rows and all(len(re.findall(r"(?<!\\)\|", row)) == 7 for row in rows)


def test_the_record_draws_what_the_fit_left(panel, fitted):
    found = fit_regime(panel, "normal")
    fits = {"normal": record.FitRecord.from_dict(fitted)}
    pictures = record.figures(panel, {"normal": found.model}, fits)
    assert set(pictures) == {
        f"{name}-normal" for name in ("gamma", "network", "calibration", "paths")
    }
    alone = record.figures(panel, {"normal": found.candidates["self_only"]}, fits)
    assert set(alone) == {"gamma-normal", "paths-normal"}
    paths, (penalties, shares) = fitted["paths"], found.paths
    assert paths["penalties"] == penalties.tolist()
    assert json.loads(json.dumps(fits["normal"].to_dict())) == fitted
    ever = int(np.triu(shares.any(axis=0), 1).sum())
    assert len(paths["shares"]) + paths["left_out"] == ever
    assert sum(paths["kept"]) <= found.candidates["full"].edges
    assert np.shape(paths["shares"]) == (len(paths["kept"]), len(penalties))


def test_rows_over_time_have_names_of_their_own() -> None:
    names = [name for name, _ in card_over_time.ROWS]
    assert len(set(names)) == len(names)
