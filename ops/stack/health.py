"""`python -m ops.stack.health URL [COMPONENT]`: exit 0 when the page answers, else say why not.

With a component, the page is Airflow's health, and that component has to be well. Imports little,
as it runs every few seconds beside each service.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 8


def problem(url: str, component: str = "") -> str:
    """Why it is not well; empty when it is."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_S) as reply:
            body = reply.read()
    except (urllib.error.URLError, OSError) as error:
        return f"{url}: {error}"
    if not component:
        return ""
    status = (json.loads(body).get(component) or {}).get("status")
    return "" if status == "healthy" else f"{component}: {status}"


if __name__ == "__main__":
    why = problem(*sys.argv[1:])
    raise SystemExit(why or 0)
