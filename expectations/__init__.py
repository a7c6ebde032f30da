"""The contract as Great Expectations suites, and the judge that runs them.

The only importer of great_expectations. It is silenced before its first import: no telemetry, no
progress, no configuration chatter on the log. Its charts (altair) and distribution tests
(scipy.stats) are three tenths of what importing it costs, and no rule of the contract asks for
them.
"""

import logging
import os

from expectations.deferred import deferred

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
logging.getLogger("great_expectations").setLevel(logging.WARNING)

with deferred("altair", "scipy.stats"):
    import great_expectations as great_expectations
