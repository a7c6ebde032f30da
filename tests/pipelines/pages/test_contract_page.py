"""The contract's page says what the declaration says."""

from __future__ import annotations

from pathlib import Path

from crossimpact import contract
from pipelines.pages.contract import markdown

PAGE = Path(__file__).parents[3] / "docs" / "contract.md"


def test_the_page_in_the_docs_is_the_generated_one():
    assert PAGE.read_text() == markdown(), "run: crossimpact contract > docs/contract.md"


def test_every_column_and_rule_is_on_the_page():
    page = markdown()
    names = {c.name for table in contract.TABLES.values() for c in table.columns}
    rules = {rule.id for rule in contract.CROSS_RULES}
    rules |= {rule.id for table in contract.TABLES.values() for rule in table.row_rules}
    assert all(f"`{name}`" in page for name in names | rules)
