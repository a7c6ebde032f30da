"""The page of a sequence of orders: repeatable, self-contained, escaped, and its numbers true."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from cli import main as cli
from crossimpact.policy.sequential import adapt, solve
from crossimpact.policy.sequential.compare import compare, myopic
from crossimpact.policy.sequential.kernel import Exponential, PowerLaw
from crossimpact.policy.sequential.law import Normal, Scenarios
from crossimpact.policy.sequential.limits import Limits
from crossimpact.policy.sequential.plan import Plan
from crossimpact.policy.sequential.problem import tthc, ttsc
from pipelines.pages import sequence_figures, sequence_page, sequence_series, sequence_text
from pipelines.sequence import problem_file
from pipelines.sequence import solve as sequence
from tests.pipelines.pages.test_figures import HOSTILE, png_size
from tests.pipelines.pages.test_page_in_browser import BROWSER, look
from tests.pipelines.pages.test_reports import Page

DOCS = Path(__file__).parents[3] / "docs" / "sequences.md"
UNIT = Exponential(np.ones((1, 1)), rho=1.0)
ARTICLE = tthc([0, 1, 2], [1, 3], UNIT)
COUPLED = Exponential(np.array([[1.0, 0.4], [0.4, 2.0]]), rho=3.0)
BASKET = tthc([0, 0.5, 1], np.array([[2.0, -1.0], [3.0, 1.0]]), COUPLED)


def text_of(page: Path) -> str:
    """What a reader reads."""
    body = re.sub(r"<style.*?</style>", " ", page.read_text(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body)))


@pytest.fixture(scope="module")
def article(tmp_path_factory) -> tuple[Path, ...]:
    return sequence_page.write(compare(ARTICLE), tmp_path_factory.mktemp("article"))


def test_a_comparison_is_a_page_and_three_pictures(article):
    page, *pictures = article
    assert [path.name for path in article] == [
        "index.html", "schedules.png", "impact.png", "costs.png",
    ]  # fmt: skip
    assert all(min(png_size(path.read_bytes())) > 300 for path in pictures)
    text = text_of(page)
    for said in ("4.2116", "5.3333", "2.3333", "56% of its cost is hidden", "1st order"):
        assert said in text


def test_the_same_plans_give_the_same_bytes(article, tmp_path):
    again = sequence_page.write(compare(ARTICLE), tmp_path)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in article]


def test_a_page_fetches_nothing_and_repeats_no_id(article):
    page = Page(article[0].read_text())
    assert not page.tags.keys() & {"script", "link", "img", "iframe"}
    assert len(page.ids) == len(set(page.ids))
    assert all(reference.startswith("#") for reference in page.references)
    assert "url(http" not in article[0].read_text()


def test_names_are_text(tmp_path):
    page, *_ = sequence_page.write(
        solve(BASKET), tmp_path, symbols=[HOSTILE, "BBB"], currency="USD", facts={HOSTILE: HOSTILE}
    )
    assert not Page(page.read_text()).tags.keys() & {"script"}
    assert HOSTILE in text_of(page)


def test_units_change_volumes_and_moves_but_no_cost():
    units = np.array([10.0, 0.25])
    plain = compare(BASKET)
    scaled = sequence_page.in_units(plain, units)
    for name, plan in plain.plans.items():
        other = scaled.plans[name]
        assert [other.ttsc, other.tthc, other.full] == pytest.approx(
            [plan.ttsc, plan.tthc, plan.full], rel=1e-12
        )
        np.testing.assert_allclose(other.volumes, plan.volumes * units)
        np.testing.assert_allclose(
            other.price_move([0.3, 0.7]), plan.price_move([0.3, 0.7]) / units
        )
        np.testing.assert_allclose(other.benchmark_impact, plan.benchmark_impact / units)


def test_limits_and_scenarios_survive_a_change_of_units():
    limits = Limits(block_cap=[1.0, 2.0], max_rate=9.0, spread=[0.1, 0.2])
    problem = tthc([0, 0.5, 1], BASKET.volumes, COUPLED, limits=limits)
    scaled = sequence_page.in_units(myopic(problem), [10.0, 0.25]).problem.limits
    np.testing.assert_allclose(scaled.block_cap, [10.0, 0.5])
    np.testing.assert_allclose(scaled.max_rate, [[90.0, 2.25]] * 2)
    np.testing.assert_allclose(scaled.spread, [0.01, 0.8])
    law = Scenarios(np.array([0.5, 0.5]), np.array([5.0, -5.0]))
    tree = adapt(tthc([0, 1, 2], [3, 0], UNIT), law)
    assert sequence_page.in_units(tree, [100.0]).cost == pytest.approx(tree.cost, rel=1e-12)


def test_what_is_uncertain_is_said(tmp_path):
    law = Scenarios(np.array([0.5, 0.5]), np.array([5.0, -5.0]))
    tree = adapt(tthc([0, 1, 2], [3, 0], UNIT), law)
    page, *_ = sequence_page.write(tree, tmp_path, vss=1 / 12)
    text = text_of(page)
    for said in ("Value of the stochastic solution", "0.0833", "50%: 2nd order 5", "Expected"):
        assert said in text
    traces = sequence_series.traces(tree)
    assert [trace.shared for trace in traces] == [1, 1]
    assert traces[0].colour_of(0) == traces[1].colour_of(0) != traces[0].colour_of(1)


def test_many_scenarios_are_stood_for_by_a_few():
    tree = adapt(tthc([0, 1, 2], [1, 3], UNIT), Normal(3.0, 2.0))
    traces = sequence_series.traces(tree)
    outcomes = [trace.plan.problem.volumes[-1, 0] for trace in traces]
    assert len(traces) == sequence_series.MAX_SCENARIOS < len(tree.plans)
    assert (np.diff(outcomes) > 0).all()
    assert np.mean(outcomes) == pytest.approx(3.0, abs=0.3)
    assert len({trace.colour for trace in traces}) == len(traces)


def test_many_assets_are_drawn_largest_first():
    n = sequence_series.MAX_ASSETS + 3
    volumes = np.arange(1.0, n + 1)[None, :]
    problem = tthc([0, 1], volumes, Exponential(np.eye(n), rho=1.0))
    drawn = sequence_series.largest([solve(problem)])
    assert drawn == list(range(n - 1, 2, -1))


@pytest.mark.parametrize(
    "problem",
    [
        tthc([0, 1], [2.0], UNIT),
        ttsc([0, 1, 5], [1, 3], UNIT, limits=Limits(spread=0.05, block_cap=1.6)),
        tthc([0, 1, 2], [1, 0], PowerLaw(np.ones((1, 1)), gamma=0.5)),
    ],
)
def test_any_problem_is_drawn_and_told(problem, tmp_path):
    answer = compare(problem) if problem.orders > 1 else solve(problem)
    assert sequence_page.write(answer, tmp_path)[0].stat().st_size > 10_000


def test_a_dust_of_the_solver_is_no_trade():
    pieces = [(0, 0.0, 0.0, 1.0 - 1e-9), (0, 1.0, 1.0, 1e-9)]
    plan = Plan.of(tthc([0, 1], [1.0], UNIT), pieces)
    assert len(plan.blocks(0)) == 2
    assert sequence_series.blocks_of(plan, 0, 0) == [(0.0, pytest.approx(1.0))]


def test_a_rate_of_one_memory_is_as_high_as_the_block_it_keeps_level():
    """Where an order by itself trades V / (2 + rho T) at once, its rate is rho times that."""
    for rho in (0.2, 3.0):
        kernel = Exponential(np.ones((1, 1)), rho=rho)
        plan = solve(tthc([0, 2], [1.0], kernel))
        ((_, block), _), ((_, _, rate),) = plan.blocks(0), plan.rates(0)
        assert rate * sequence_figures.memory(kernel, 2.0) == pytest.approx(
            block if rho * 2 > 1 else rate * 2.0, rel=1e-5
        )


@pytest.mark.parametrize(
    ("value", "text"),
    [(4.211621, "4.2116"), (3.0, "3"), (-1234.5, "−1,234.50"), (2e6, "2,000,000"), (3e-5, "3e−05")],
)
def test_numbers_are_read_at_a_glance(value, text):
    assert sequence_text.precise(value) == text


@pytest.mark.skipif(BROWSER is None, reason="no chromium here (Debian: apt-get install chromium)")
@pytest.mark.parametrize("width", [420])
def test_the_page_fits_a_browser_and_fetches_nothing(article, tmp_path, width):
    seen = look(article[0], width, tmp_path)
    assert seen["title"] == "Orders in sequence"
    assert seen["figures"] == 3
    assert seen["overflow"] <= 0
    assert seen["fetched"] == []
    assert seen["unseen"] == 0


# -- what the docs say ---------------------------------------------------------------------------


def table(heading: str) -> list[dict[str, str]]:
    """Rows of the first table after a heading of the docs page."""
    part = DOCS.read_text().split(f"## {heading}\n")[1]
    lines = [line for line in part.split("\n## ")[0].splitlines() if line.startswith("|")]
    cells = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"-?\d+\.?\d*", text)]


def test_table_1_of_the_docs_is_what_the_code_gives():
    """The article's table, filled in: every cell a number of the plan, to its last digit."""
    plans = compare(ARTICLE).plans
    rows = {row["schedule"]: row for row in table("Table 1, filled in")}
    for name, plan in (
        ("myopic", plans["myopic"]),
        ("TTSC-optimal", solve(ttsc([0, 1, 2], [1, 3], UNIT))),
        ("TTHC-optimal", solve(ARTICLE)),
    ):
        row = rows.pop(name)
        parts = ("first block", "rate", "last block")
        said = [numbers(row[f"order {j + 1}: {part}"]) for j in (0, 1) for part in parts]
        given = []
        for j in (0, 1):
            at = {0: 0.0, 1: 0.0}
            for t, volume in plan.blocks(j):
                at[int(t) - j] += volume
            rates = [x for a, b, rate in plan.rates(j) for x in (rate, a, b)] or [0.0]
            given += [[at[0]], rates, [at[1]]]
        for a, b in zip(said, given, strict=True):
            assert a == pytest.approx(b, abs=5e-5)
        costs = [numbers(row["TTSC"])[0], numbers(row["TTHC"])[0]]
        assert costs == pytest.approx([plan.ttsc, plan.tthc], abs=5e-5)
    assert not rows


def test_the_limits_table_of_the_docs_is_what_the_code_gives():
    limits = {
        "none": Limits(),
        "a spread of 0.05 per unit": Limits(spread=0.05),
        "blocks up to 0.5, rates up to 4": Limits(block_cap=0.5, max_rate=4.0),
        "no blocks, rates up to 4": Limits(no_blocks=True, max_rate=4.0),
        "full span": Limits(full_span=True),
    }
    rows = table("Practical limits")
    assert [row["limits"] for row in rows] == list(limits)
    for row in rows:
        for volumes in ([1, 3], [1, -1]):
            plan = solve(tthc([0, 1, 2], volumes, UNIT, limits=limits[row["limits"]]))
            said = numbers(row[f"V = ({volumes[0]}, {volumes[1]})"])
            assert said == [pytest.approx(plan.tthc, abs=6e-4)]


def test_the_signs_table_of_the_docs_is_what_the_code_gives():
    for row in table("Signed volumes"):
        plans = compare(tthc([0, 1, 2], numbers(row["V"]), UNIT)).plans
        columns = {"myopic": "myopic", "ttsc": "TTSC-optimal", "tthc": "TTHC-optimal"}
        for name, column in columns.items():
            said = numbers(row[column])
            assert said == pytest.approx([plans[name].ttsc, plans[name].tthc], abs=5e-5)


def test_the_amend_table_of_the_docs_is_what_the_code_gives():
    for row in table("Amended orders"):
        (amend,) = numbers(row["amend"])
        plan = solve(tthc([0, 1, 2], [1, 3], UNIT, amend=amend))
        said = numbers(row["TTHC"]) + numbers(row["full"])
        assert said == pytest.approx([plan.tthc, plan.full], abs=5e-5)


def test_a_commands_page_is_named_in_its_answer(monkeypatch, capsys, tmp_path):
    problem = re.findall(r"<<'END'\n(\{.*?\})\nEND", DOCS.read_text(), re.DOTALL)[0]
    (tmp_path / "article.json").write_text(problem)
    words = ["sequence", tmp_path / "article.json", "--report", tmp_path / "page", "--json"]
    monkeypatch.setattr("sys.argv", ["crossimpact", *map(str, words)])
    monkeypatch.setattr("atexit.register", lambda _: None)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    answer = json.loads(capsys.readouterr().out)
    assert not stopped.value.code
    assert Path(answer["report"]) == tmp_path / "page" / "index.html"
    assert "4.2116" in text_of(Path(answer["report"]))


def test_the_scenarios_of_the_docs_cost_what_is_said():
    text = DOCS.read_text()
    problem = json.loads(re.findall(r"<<'END'\n(\{.*?\})\nEND", text, re.DOTALL)[1])
    answer = sequence.answer(problem_file.parse(problem))
    assert f"expected cost {answer.cost:.4f}" in text
    assert f"loses {answer.extra['value_of_stochastic_solution']:.4f}" in text
    grown = json.loads(re.findall(r"<<'END'\n(\{.*?\})\nEND", text, re.DOTALL)[2])
    answer = sequence.answer(problem_file.parse(grown))
    assert f"The plan costs {answer.cost:.4f};" in text
    assert f"loses {answer.extra['value_of_stochastic_solution']:.4f}.\nThe answer" in text
