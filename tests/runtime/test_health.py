import socket
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from failsoft.policy.errors import EnvironmentFailure
from failsoft.runtime.health import HealthServer


async def get(server: HealthServer, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{server.port}{path}") as answer:
        return answer.status, await answer.text()


async def test_it_serves_what_is_counted_on_a_port_that_was_free():
    registry = CollectorRegistry()
    Counter("seen", "Something.", registry=registry).inc()
    async with HealthServer(registry, lambda: {"ok": True}) as server:
        status, text = await get(server, "/metrics")
    assert server.port != 0
    assert (status, "seen_total 1.0" in text) == (200, True)


@pytest.mark.parametrize(("is_ok", "status"), [(True, 200), (False, 503)])
async def test_who_is_not_well_says_so_by_the_status_too(is_ok, status):
    health: dict[str, Any] = {"ok": is_ok, "draining": not is_ok}
    async with HealthServer(CollectorRegistry(), lambda: health) as server:
        found, text = await get(server, "/health")
    assert found == status
    assert f'"ok": {str(is_ok).lower()}' in text


async def test_a_port_that_is_taken_is_named_with_the_way_out():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentFailure, match=rf"cannot listen on 127\.0\.0\.1:{port} .*port 0 takes any free"):
            await HealthServer(CollectorRegistry(), lambda: {"ok": True}, port=port).__aenter__()
