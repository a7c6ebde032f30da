"""Where modules of version 0.1 have gone: an old import path is told the new one."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

MOVED = {
    "crossimpact.estimate.alarm": "crossimpact.drift.e_detector",
    "crossimpact.estimate.calibration": "crossimpact.drift.calibration",
    "crossimpact.estimate.claims": "crossimpact.drift.null_hypothesis",
    "crossimpact.estimate.conditions": "crossimpact.drift.conditions",
    "crossimpact.estimate.descent": "crossimpact.estimate.coordinate_descent",
    "crossimpact.estimate.design": "crossimpact.panel",
    "crossimpact.estimate.distance": "crossimpact.drift.distance",
    "crossimpact.estimate.drift": "crossimpact.drift.weekly",
    "crossimpact.estimate.limits": "crossimpact.estimate.guardrail_levels",
    "crossimpact.estimate.rivals": "crossimpact.estimate.baselines",
    "crossimpact.estimate.turnover": "crossimpact.drift.turnover",
    "crossimpact.estimate.week": "crossimpact.estimate.held_out",
    "crossimpact.drift.week": "crossimpact.estimate.held_out",
    "expectations.judge": "expectations.gx_runner",
    "pipelines.card": "pipelines.pages.card",
    "pipelines.card_policy": "pipelines.pages.card_policy",
    "pipelines.config": "pipelines.store.settings",
    "pipelines.contract_page": "pipelines.pages.contract",
    "pipelines.csv_file": "pipelines.store.csv_file",
    "pipelines.figures": "pipelines.pages.figures",
    "pipelines.ingest_map": "pipelines.ingest.mapping",
    "pipelines.ingest_source": "pipelines.ingest.source",
    "pipelines.ingest_table": "pipelines.ingest.mapped",
    "pipelines.judgement": "pipelines.split",
    "pipelines.landing": "pipelines.store.landing",
    "pipelines.layout": "pipelines.store.layout",
    "pipelines.lease": "pipelines.store.lease",
    "pipelines.markdown": "pipelines.pages.markdown",
    "pipelines.plots": "pipelines.pages.plots",
    "pipelines.provenance": "pipelines.store.provenance",
    "pipelines.reports": "pipelines.pages.reports",
    "pipelines.scratch": "pipelines.store.scratch",
    "pipelines.sequence_figures": "pipelines.pages.sequence_figures",
    "pipelines.sequence_orders": "pipelines.sequence.orders_file",
    "pipelines.sequence_page": "pipelines.pages.sequence_page",
    "pipelines.sequence_problem": "pipelines.sequence.problem_file",
    "pipelines.sequence_traces": "pipelines.pages.sequence_series",
    "pipelines.sequence_words": "pipelines.pages.sequence_text",
    "pipelines.warehouse": "pipelines.store.warehouse",
    "registry.bundle": "crossimpact.release.bundle",
    "registry.chain": "crossimpact.release.hash_chain",
    "registry.client": "crossimpact.consumer.client",
    "registry.couplings": "crossimpact.release.couplings",
    "registry.deadline": "crossimpact.consumer.deadline",
    "registry.entry": "crossimpact.release.entry",
    "registry.gates": "crossimpact.release.gates",
    "registry.lastgood": "crossimpact.consumer.cache",
    "registry.ledger": "crossimpact.release.ledger",
    "registry.lookup": "crossimpact.consumer.lookup",
    "registry.numerics": "crossimpact.release.admissible",
    "registry.reproducible": "crossimpact.release.reproducible",
    "registry.sealed": "crossimpact.release.release_files",
    "registry.served": "crossimpact.consumer.state",
    "registry.source": "crossimpact.consumer.source",
}


class OldPaths(MetaPathFinder):
    """The last finder asked: nobody else knows the module."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        """Never a module.

        Raises
        ------
        ModuleNotFoundError
            When the module has moved, with its new name.
        """
        if new := MOVED.get(fullname):
            raise ModuleNotFoundError(f"{fullname} has moved: import {new}", name=fullname)
