"""Run a table's suite on its table of counts and say which rules broke.

GX judges with `BOOLEAN_ONLY`: the counts name the dates, and whoever owns the connection has the
rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import great_expectations as gx
from great_expectations.core import ExpectationValidationResult
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from sqlalchemy.pool import NullPool

from crossimpact import contract
from crossimpact.errors import CrossImpactError
from expectations.engine import OwnCursorConnection
from expectations.suites import suite

RESULT_FORMAT = {"result_format": "BOOLEAN_ONLY"}


class Judge:
    """GX over the tables of one open DuckDB connection (an ephemeral context, nothing stored).

    Parameters
    ----------
    connection
        Holds the tables of counts to judge.
    """

    def __init__(self, connection: Any) -> None:
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        engine: dict[str, Any] = {  # a field of GX's SQL source that its stub leaves out
            "kwargs": {"creator": lambda: OwnCursorConnection(connection), "poolclass": NullPool}
        }
        self._source = context.data_sources.add_sql(
            "duckdb", connection_string="duckdb:///:memory:", **engine
        )

    def broken(self, table: contract.Table, relation: str) -> frozenset[str]:
        """Rules of `table` that some date of the connection's table of counts `relation` breaks.

        Raises
        ------
        CrossImpactError
            When an expectation could not be evaluated, or the table holds no line or other rules
            than the contract's: that is neither good nor bad data.
        """
        asset = self._source.add_table_asset(relation, table_name=relation)
        batch = asset.add_batch_definition_whole_table("all").get_batch()
        results = batch.validate(suite(table), result_format=RESULT_FORMAT).results
        blocking = [r for r in results if not r.success and _meta(r)["blocks"]]
        _check_evaluated(table, blocking or results)
        if blocking:
            raise CrossImpactError(f"{table.name}: counts fail {_meta(blocking[0])['rule_id']}")
        return frozenset(_meta(r)["rule_id"] for r in results if not r.success)


def _check_evaluated(table: contract.Table, results: Iterable[ExpectationValidationResult]) -> None:
    for result in results:
        error = _raised(result.exception_info or {})
        if error:
            raise CrossImpactError(
                f"{table.name}: rule {_meta(result)['rule_id']} could not be evaluated ({error})"
            )


def _raised(info: Mapping[str, Any]) -> str:
    """GX nests one record per failed metric, or gives one flat record."""
    records = [info, *(value for value in info.values() if isinstance(value, Mapping))]
    messages = [str(r.get("exception_message")) for r in records if r.get("raised_exception")]
    return messages[0].split("\n")[0] if messages else ""


def _config(result: ExpectationValidationResult) -> ExpectationConfiguration:
    if result.expectation_config is None:
        raise CrossImpactError(f"GX gives a result without its expectation: {result}")
    return result.expectation_config


def _meta(result: ExpectationValidationResult) -> Mapping[str, Any]:
    return _config(result).meta or {}
