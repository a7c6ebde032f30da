"""Great Expectations is imported without the parts of its libraries that no rule asks for."""

from __future__ import annotations

import subprocess
import sys

ASKS = """
import sys
import expectations.gx_runner
from great_expectations.expectations.core import (
    expect_column_kl_divergence_to_be_less_than as with_charts,
)
assert not {"altair", "scipy.stats"} & sys.modules.keys()
assert with_charts.stats.norm.cdf(0.0) == 0.5
assert with_charts.alt.Chart.__name__ == "Chart"
from scipy import stats
assert stats is sys.modules["scipy.stats"] and stats.__file__
"""


def test_charts_and_distributions_are_imported_at_first_use_and_work() -> None:
    done = subprocess.run([sys.executable, "-c", ASKS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
