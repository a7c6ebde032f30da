"""What Airflow's menu shows of the desk: its reports, to whoever is logged in."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/reports"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.(html|csv)")
#: Pages of the home run no script and load nothing; a browser is told so, for they share Airflow's
#: address.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
Scope = MutableMapping[str, Any]
Message = Callable[..., Awaitable[Any]]


class Reports:
    """`<home>/reports` as an ASGI application, made when a page is first asked for: every process
    of Airflow loads its plugins, and only the API server has pages to show."""

    async def __call__(self, scope: Scope, receive: Message, send: Message) -> None:
        await self.app(scope, receive, send)

    @cached_property
    def app(self) -> Any:
        from airflow.api_fastapi.core_api.security import get_user
        from fastapi import Depends, FastAPI, HTTPException
        from fastapi.responses import FileResponse

        from pipelines.store.settings import default_home

        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

        @app.get("/{name}", dependencies=[Depends(get_user)])
        def page(name: str) -> FileResponse:
            path = default_home() / "reports" / name
            if not NAME.fullmatch(name) or not path.is_file() or path.is_symlink():
                raise HTTPException(404, f"there is no report {name[:80]!r}")
            return FileResponse(path, headers=HEADERS)

        return app


class ReportsPlugin(AirflowPlugin):
    """The pages below `/reports/`, and a link to them in the menu."""

    name = "crossimpact_reports"
    fastapi_apps = [{"app": Reports(), "url_prefix": PREFIX, "name": name}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {"name": "Desk reports", "href": f"{PREFIX}/index.html", "destination": "nav"}
    ]
