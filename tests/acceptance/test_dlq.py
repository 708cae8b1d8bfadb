"""A thousand dead letters are replayed by a command that is killed, interrupted and given again: each is handled once."""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import orjson
import pytest

from failsoft import Call, Output, Pipeline
from failsoft.catalogue import dead_letters_topic, requests_topic
from failsoft.kafka.raw import raw_records
from failsoft.kafka.results import ResultRecord
from failsoft.policy.outcome import Outcome, Reason
from failsoft.runtime.dead_letters import read_letters
from failsoft.wire import Envelope, Identity, RequestLine
from failsoft.wire.body import encode_request
from failsoft.wire.dead_letter import DeadLetter, encode_dead_letter
from failsoft.wire.dead_letter_mark import Deed
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.identity import result_id
from tests.acceptance.harness import PATIENCE_SECONDS, Cluster

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

COUNT = 1000
KILLS = ((signal.SIGKILL, 200), (signal.SIGINT, 500))
"""How the command is ended, and after how many records in the topic of requests."""


def letter(cluster: Cluster, number: int) -> DeadLetter:
    """As a worker wrote it an hour ago, of a request with five seconds."""
    id_ = f"q{number}"
    headers = encode_request_headers(Envelope(Identity("/app", id_)), budget_seconds=5.0, sent_at=time.time() - 3600)
    value = encode_request(RequestLine(id_, "/v1/chat/completions", {"prompt": id_}))
    topic = requests_topic(cluster.pipeline, "work", "batch")
    return DeadLetter(
        topic,
        0,
        number,
        f"{cluster.pipeline}.work",
        Reason.POISON,
        "why",
        "poison",
        id_.encode(),
        value,
        tuple(headers),
    )


async def put_letters(cluster: Cluster) -> None:
    records = [encode_dead_letter(letter(cluster, number)) for number in range(COUNT)]
    topic = dead_letters_topic(cluster.pipeline)
    await asyncio.gather(*(cluster.outbox.send(topic, key=r.key, value=r.value, headers=r.headers) for r in records))


async def start(cluster: Cluster, folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    (folder / "topics.yaml").write_text(cluster.text)
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "failsoft", "dlq", *arguments,
        cwd=folder,
        env=os.environ | {"KAFKA_BOOTSTRAP_SERVERS": cluster.connection.bootstrap_servers},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def requests(cluster: Cluster) -> list[ResultRecord]:
    topic = requests_topic(cluster.pipeline, "work", "batch")
    return [record async for record in raw_records(cluster.connection, topic, since=0.0)]


async def at_rest(cluster: Cluster) -> int:
    """Wait until what the killed had on its way has arrived; return how many requests there are."""
    count, before = len(await requests(cluster)), -1
    while count != before:
        await asyncio.sleep(0.5)
        before, count = count, len(await requests(cluster))
    return count


@pytest.mark.timeout(240)
async def test_a_thousand_dead_letters_are_each_handled_once_however_the_replay_is_cut_off(
    cluster: Cluster, tmp_path: Path
):
    calls: Counter[str] = Counter()
    pipeline = Pipeline(cluster.pipeline)

    @pipeline.stage("work").tier("large", limit=16)
    async def large(call: Call) -> Output:
        calls[call.body["prompt"]] += 1
        return Output({"content": "yes"})

    await put_letters(cluster)
    said = b""
    for signal_, count in KILLS:
        replaying = await start(cluster, tmp_path, "replay", "--rate", "500")
        async with asyncio.timeout(2 * PATIENCE_SECONDS):  # the command starts anew, on a busy machine in ten seconds
            while len(await requests(cluster)) < count:
                assert replaying.returncode is None, await replaying.communicate()
                await asyncio.sleep(0.1)
        replaying.send_signal(signal_)
        _, said = await replaying.communicate()
        assert await at_rest(cluster) < COUNT
    assert b"cut off; the same command again goes on" in said
    last = await start(cluster, tmp_path, "replay", "--rate", "500", "--json", "-")
    told, said = await last.communicate()
    assert last.returncode == 0, said
    report = orjson.loads(told)
    assert report["selected"] == report["replayed"] + report["found_sent"]
    identities = [dict(record.headers)["ce_source"] for record in await requests(cluster)]
    wanted = [result_id(Identity("/app", f"q{number}")) for number in range(COUNT)]
    assert sorted(identities) == sorted(f"/replay/{id_}".encode() for id_ in wanted)
    async with cluster.worker(pipeline):
        results = await cluster.results_of([result_id(Identity(f"/replay/{id_}", "1")) for id_ in wanted])
    assert Counter(result.outcome for result in results.values()) == {Outcome.OK: COUNT}
    assert sorted(str(result.custom_id) for result in results.values()) == sorted(f"q{n}" for n in range(COUNT))
    assert calls == {f"q{number}": 1 for number in range(COUNT)}
    shelf = await read_letters(partial(raw_records, cluster.connection), dead_letters_topic(cluster.pipeline))
    assert Counter(each.deed for each in shelf.letters) == {Deed.REPLAYED: COUNT}
