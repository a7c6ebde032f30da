"""The contract as Great Expectations suites, and the judge that runs them.

The only importer of great_expectations. It is silenced before its first import: no telemetry, no
progress, no configuration chatter on the log.
"""

import logging
import os

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
logging.getLogger("great_expectations").setLevel(logging.WARNING)
