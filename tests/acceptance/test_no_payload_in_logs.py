"""What senders and models say is in no log, no metric and no health report, however loud the logs and however things fail.

A canary stands in every place that a sender or a model can fill. A worker, as a process of its own with all loggers at DEBUG and
asyncio in debug mode, takes well-formed and malformed records, serves them, fails at them in each way there is, and drains.
Whatever it has written anywhere is then searched.
"""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import aiohttp
import orjson

from failsoft.wire.identity import Identity, result_id
from tests.acceptance.harness import Cluster, until

CANARY = "cAnArY"
KINDS = ("served", "raises", "busy", "refused", "hangs", "blocks", "garbage", "no-json")
ROOT = Path(__file__).parents[2]


def canary(place: str) -> str:
    """One for each place, so that a find says where it came from."""
    return f"{CANARY}-{place}"


def body(kind: str) -> bytes:
    line = {
        "custom_id": canary("custom-id"),
        "method": "POST",
        "url": f"/v1/{canary('url')}",
        "body": {"kind": kind, "prompt": canary(f"prompt-{kind}")},
    }
    return orjson.dumps(line)


MALFORMED = {
    "no-json": f'{{"prompt": "{canary("no-json")}'.encode(),
    "unknown-member": orjson.dumps({canary("member"): 1}),
    "no-object": orjson.dumps([canary("list")]),
    "twice": b'{"custom_id":"%s","custom_id":"%s"}' % ((canary("twice").encode(),) * 2),
    "no-utf-8": canary("bytes").encode() + b"\xff",
    "deep": b"[" * 70 + orjson.dumps(canary("deep")) + b"]" * 70,
}
HEADERS = [
    ("ce_tenant", canary("tenant").encode()),
    ("ce_coalescekey", canary("coalesce").encode()),
    ("ce_correlationid", canary("correlation").encode()),
    ("traceparent", canary("trace").encode()),
    ("reply_to", canary("reply").encode()),
    (f"x-{canary('name').lower()}", canary("header").encode()),
]
BROKEN_HEADERS = {
    "floor": [("ce_floor", canary("floor").encode())],
    "deadline": [("ce_expirytime", canary("deadline").encode())],
    "type": [("content-type", canary("content-type").encode())],
    "twice": [(f"ce_{canary('twice')}", b"1")] * 2,
}


async def send_everything(cluster: Cluster) -> list[str]:
    """Send a request of each kind, and each kind of malformed one; return the ids of their results."""
    ids: list[str] = []

    async def send(value: bytes, headers: list[tuple[str, bytes]]) -> None:
        identity = Identity("/test", str(len(ids)))
        named = [("ce_source", b"/test"), ("ce_id", identity.id.encode()), ("ce_budgetms", b"20000")]
        topic = f"{cluster.pipeline}.work.interactive"
        await cluster.outbox.send(topic, key=canary("key").encode(), value=value, headers=[*named, *headers])
        ids.append(result_id(identity))

    for kind in KINDS:
        await send(body(kind), [header for header in HEADERS if header[0] != "ce_coalescekey" or kind == "served"])
    for value in MALFORMED.values():
        await send(value, HEADERS)
    for headers in BROKEN_HEADERS.values():
        await send(body("served"), headers)
    return ids


async def test_nothing_that_a_sender_or_a_model_says_is_in_a_log_a_metric_or_a_health_report(
    cluster: Cluster, tmp_path
):
    (tmp_path / "topics.yaml").write_text(cluster.text)
    (tmp_path / "loud.py").write_text(
        f"from tests.acceptance.loud_worker import loud_pipeline\npipeline = loud_pipeline({cluster.pipeline!r})\n"
    )
    log = tmp_path / "log"
    with log.open("wb") as out:
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-X", "dev", "-m", "tests.acceptance.loud_worker", "worker", "loud:pipeline",
            "--bootstrap", cluster.connection.bootstrap_servers, "--catalogue", str(tmp_path / "topics.yaml"),
            cwd=ROOT, stdout=out, stderr=out, env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        )  # fmt: skip
    try:
        await until(lambda: "ready: " in log.read_text())
        ids = await send_everything(cluster)
        results = await cluster.results_of(ids)
        ready = re.search(r"ready: (\S+)/metrics", log.read_text())
        assert ready is not None
        async with aiohttp.ClientSession(ready[1]) as session:
            pages = [await (await session.get(page)).text() for page in ("/metrics", "/health")]
    finally:
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(worker.wait(), 40) == 0
    said = log.read_text()
    for text, what in ((said, "log"), (pages[0], "/metrics"), (pages[1], "/health")):
        found = sorted(set(re.findall(f"(?i).{{0,120}}{CANARY}.{{0,60}}", text)))
        assert found == [], f"{what} holds what it must not"
    assert "all loggers are at DEBUG" in said
    assert said.count('"call_failed"') >= 6
    assert "Executing <" in said, "asyncio has not complained of the model that blocks"
    assert "failsoft_calls_total" in pages[0]
    assert {result.outcome.value for result in results.values()} >= {"ok", "invalid", "failed"}, "not all was tried"
