"""Where a live session answers monitors: on loopback, unless a container names another address."""

from __future__ import annotations

import asyncio

import pytest

from pipelines.live.metrics import Health, Metrics, serve


@pytest.mark.parametrize(("said", "bound"), [(None, "127.0.0.1"), ("0.0.0.0", "0.0.0.0")])  # noqa: S104
def test_it_binds_loopback_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, said: str | None, bound: str
) -> None:
    monkeypatch.delenv("CROSSIMPACT_METRICS_HOST", raising=False)
    if said:
        monkeypatch.setenv("CROSSIMPACT_METRICS_HOST", said)

    async def address() -> str:
        server = await serve(0, Metrics(), lambda: Health("", ""))
        async with server:
            return str(server.sockets[0].getsockname()[0])

    assert asyncio.run(address()) == bound
