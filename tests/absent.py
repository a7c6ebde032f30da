"""Columns that what we make leaves out: nothing there is corrected, and no print has an id."""

ABSENT = frozenset({"exec_type", "ref_fill_id", "trade_id", "condition"})
