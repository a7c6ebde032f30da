"""Every case beside every query, through a real DuckDB."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crossimpact import contract
from pipelines.books import BOOK_RULES
from pipelines.store.settings import SQL_DIR
from pipelines.violations import PARAMETERS
from tests.sql.cases import Case, agree, all_cases, parse, run

CASES = list(all_cases())


@pytest.mark.parametrize(
    "case", CASES, ids=lambda c: f"{c.query.parent.name}/{c.query.stem}: {c.name}"
)
def test_the_query_gives_what_the_case_expects(case: Case) -> None:
    found, expected = run(case)
    assert agree(found, expected), f"found {found}, expected {expected}"


@pytest.mark.parametrize(
    "query",
    sorted(path for path in SQL_DIR.rglob("*.sql") if path.parent.name != "ingest"),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_every_query_outside_ingest_has_cases(query: Path) -> None:
    assert any(case.query == query for case in CASES), f"write {query.stem}.cases.toml beside it"


QUERIES = {rule.query or rule.id for rule in contract.CROSS_RULES if rule.id not in BOOK_RULES}


@pytest.mark.parametrize("query", sorted(QUERIES))
def test_every_rule_across_tables_has_a_query_with_cases(query: str) -> None:
    cases = [case for case in CASES if case.query == SQL_DIR / "checks" / f"{query}.sql"]
    counts = [len(parse(case.expect).rows) for case in cases]
    assert any(counts), "no case with an offender"


def test_every_check_is_a_rule_and_asks_for_known_parameters() -> None:
    checks = {path.stem: path.read_text() for path in (SQL_DIR / "checks").glob("*.sql")}
    assert checks.keys() == QUERIES
    for text in checks.values():
        assert re.match(r"-- grain: .+\n-- reads: .+\n-- gives: file, row\n", text)
        assert set(re.findall(r"\$(\w+)", text)) <= PARAMETERS.keys()


def test_a_wrong_expectation_is_noticed() -> None:
    case = next(case for case in CASES if case.query.stem == "order_known")
    wrong = Case(case.query, case.name, "file | row\nf | 99", case.given, case.params)
    assert not agree(*run(wrong))
