"""Worker processes on a real broker share a breaker: what one learns all know, and one that is wrong is not believed."""

import asyncio
import itertools
import math
import os
import random
import signal
import sys
import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self
from uuid import uuid4

import aiohttp
import orjson
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from failsoft.catalogue import pipeline_topic, requests_topic
from failsoft.kafka import View, ViewRecord
from failsoft.policy.breaker_states import State
from failsoft.policy.call_counts import Counts
from failsoft.policy.register import Phase, Register, Word
from failsoft.testing.proxy import CUT, PASS, Proxy
from failsoft.wire import Envelope, Identity, RequestLine
from failsoft.wire.body import encode_request
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.register import decode_register, encode_register
from tests.acceptance.harness import Cluster, new_cluster
from tests.faults.fleet import WHOLE

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance, pytest.mark.alone, pytest.mark.timeout(300)]

WORKERS = 8
LIMIT = 64
BREAKER = "work/large"
START_SECONDS = 120.0
"""Two seconds of work each on an idle core."""
LOOK_SECONDS = 0.1
CALL_SECONDS = 0.1
EXPECT = "500ms"
"""Five times what a call takes, so that a machine that is busy does not make an endpoint slow."""
TOPICS = (
    'breakers: {partitions: 1, config: {cleanup.policy: "compact,delete", retention.ms: 24h}}',
    "controls: {partitions: 1, config: {cleanup.policy: compact}}",
)
PIPELINE = f"""
import os
from failsoft import Constant, OpenAICompatible, Pipeline

pipeline = Pipeline(os.environ["TEST_PIPELINE"])
stage = pipeline.stage("work", coalesce="off")
stage.tier(
    "large",
    OpenAICompatible("large", url=os.environ["MODEL_URL"], api_key="env:WORKER", limit={LIMIT}),
    expect="{EXPECT}",
)
stage.tier("sorry", Constant({{"content": "sorry"}}))
"""


class Made(NamedTuple):
    """One call, as the model saw it end."""

    at: float
    began_at: float
    worker: str
    failed: bool


class Model:
    """Fails as often as is said, and remembers who called."""

    def __init__(self) -> None:
        self.failing = 0.0
        self.calls: list[Made] = []
        self.port = 0
        self._rng = random.Random(11)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        app.router.add_get("/v1/models", self._models)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        failed, began_at = self._rng.random() < self.failing, time.time()
        await asyncio.sleep(CALL_SECONDS)
        worker = request.headers["Authorization"].removeprefix("Bearer ")
        self.calls.append(Made(time.time(), began_at, worker, failed))
        return web.json_response({"error": {"message": "down"}} if failed else {"ok": True}, status=500 * failed or 200)

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "large"}]})

    def first_possible_at(self, since: float) -> float:
        """When somebody who saw every call could first have opened it: half of twenty calls or more within 30 s have failed."""
        seen = [call for call in self.calls if call.at >= since]
        for n in range(1, len(seen) + 1):
            window = [call.failed for call in seen[:n] if call.at > seen[n - 1].at - 30]
            if len(window) >= 20 and 2 * sum(window) >= len(window):
                return seen[n - 1].at
        return math.inf

    def begun_since(self, at: float) -> list[Made]:
        return [call for call in self.calls if call.began_at >= at]

    def failed_since(self, at: float) -> int:
        return sum(call.failed for call in self.calls if call.at >= at)


class Worker:
    """One `failsoft worker`, which reaches the model by a network of its own."""

    def __init__(self, process: Process, log: Path, history: Path, proxy: Proxy) -> None:
        self.process, self.proxy = process, proxy
        self._log, self._history = log, history
        self.address = ""

    async def ready(self) -> None:
        async with asyncio.timeout(START_SECONDS):
            while "ready: " not in (said := self._log.read_text()):
                assert self.process.returncode is None, said
                await asyncio.sleep(0.05)
        self.address = said.partition("ready: ")[2].split()[0].removesuffix("/metrics")

    def breaker(self) -> tuple[State, float]:
        """The state of its breaker, and since when, on the wall clock; both as it has written them down."""
        lines = [line for file in self._history.glob("*.jsonl") for line in file.read_bytes().splitlines(keepends=True)]
        moved = [orjson.loads(line) for line in lines if b'"breaker"' in line and line.endswith(b"\n")]
        return (State(moved[-1]["state"]), moved[-1]["at"]) if moved else (State.CLOSED, -math.inf)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)


class Fleet:
    """Workers by name, and the topic in which they talk."""

    def __init__(self, cluster: Cluster, folder: Path, model: Model, session: aiohttp.ClientSession) -> None:
        self.cluster, self.model = cluster, model
        self.workers: dict[str, Worker] = {}
        self.registers: dict[str, tuple[Register, float]] = {}
        """By process: what it said last, and when that was appended."""
        self.openers: dict[int, str] = {}
        """By epoch: the process that said first that it has begun, in the order of the log."""
        self.folder, self._session = folder, session
        self._proxies: list[Proxy] = []
        self._names = itertools.count()
        (folder / "shared.py").write_text(PIPELINE)
        (folder / "topics.yaml").write_text(cluster.text)

    async def start(self, count: int) -> None:
        """Start so many, and wait until each has its share."""
        names = [f"worker-{next(self._names)}" for _ in range(count)]
        for name in names:
            self.workers[name] = await self._worker(name)
        await asyncio.gather(*(self.workers[name].ready() for name in names))
        async with asyncio.timeout(START_SECONDS):
            while await self.permits() != {name: LIMIT / len(self.workers) for name in self.workers}:
                await asyncio.sleep(LOOK_SECONDS)

    async def _worker(self, name: str) -> Worker:
        proxy = await Proxy(self.model.port).__aenter__()
        self._proxies.append(proxy)
        log, history = self.folder / f"{name}.log", self.folder / name
        history.mkdir()
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "failsoft", "worker", "shared:pipeline"),
                *("--session-timeout", "3s", "--history", str(history)),
                cwd=self.folder,
                env=os.environ
                | {
                    "TEST_PIPELINE": self.cluster.pipeline,
                    "KAFKA_BOOTSTRAP_SERVERS": self.cluster.connection.bootstrap_servers,
                    "MODEL_URL": f"http://127.0.0.1:{proxy.port}",
                    "WORKER": name,
                },
                stdout=file,
                stderr=file,
            )
        return Worker(process, log, history, proxy)

    async def end(self) -> None:
        for worker in self.workers.values():
            if worker.process.returncode is None:
                worker.kill()
                await worker.process.wait()
        for proxy in self._proxies:
            await proxy.__aexit__()

    def states(self) -> dict[str, State]:
        return {name: worker.breaker()[0] for name, worker in self.workers.items()}

    async def permits(self) -> dict[str, float]:
        found = await self._scrape(
            "failsoft_permits", lambda labels, value: str(value) if labels["tier"] == "large" else None
        )
        return {name: float(value) for name, value in found.items()}

    async def until_all(self, *states: State, seconds: float) -> float:
        """Wait until all are in one of these; return when the last one was, on the wall clock."""
        async with asyncio.timeout(seconds):
            while not set(self.states().values()) <= set(states):
                await asyncio.sleep(LOOK_SECONDS)
        return max(worker.breaker()[1] for worker in self.workers.values())

    async def _scrape(self, metric: str, read: Callable[[dict[str, str], float], str | None]) -> dict[str, str]:
        async def one(name: str, worker: Worker) -> tuple[str, str | None]:
            async with self._session.get(f"{worker.address}/metrics") as response:
                families = text_string_to_metric_families(await response.text())
            samples = [sample for family in families if family.name == metric for sample in family.samples]
            return name, next((word for each in samples if (word := read(each.labels, each.value)) is not None), None)

        found = await asyncio.gather(*(one(name, worker) for name, worker in self.workers.items()))
        return {name: value for name, value in found if value is not None}

    def heard(self, records: Sequence[ViewRecord]) -> None:
        for record in records:
            with suppress(ValueError):
                _, process, register = decode_register(record.key, record.value, record.headers)
                if register is not None:
                    self.registers[process] = (register, record.appended_at)
                    self.openers.setdefault(register.word.epoch, process)

    async def named(self, process: str) -> str:
        """The worker that calls itself so."""
        for name, worker in self.workers.items():
            async with self._session.get(f"{worker.address}/health") as response:
                if (await response.json())["process"] == process:
                    return name
        raise LookupError(process)

    @property
    def word(self) -> Word:
        """What all have said, joined."""
        joined = Word()
        for register, _ in self.registers.values():
            joined = joined.join(register.word)
        return joined

    @asynccontextmanager
    async def traffic(self) -> AsyncIterator[None]:
        """One request a second for each partition, of which each worker has one."""

        async def send_forever() -> None:
            topic = requests_topic(self.cluster.pipeline, "work", "interactive")
            for number in itertools.count():
                identity = Identity("/test", uuid4().hex)
                headers = encode_request_headers(Envelope(identity), budget_seconds=5.0, sent_at=time.time())
                value = encode_request(RequestLine(identity.id, "/v1/chat/completions", {"n": number}))
                sends.add(
                    asyncio.create_task(
                        self.cluster.outbox.send(
                            topic, key=b"k", value=value, headers=headers, partition=number % WORKERS
                        )
                    )
                )
                await asyncio.sleep(1 / WORKERS)

        sends: set[asyncio.Task[object]] = set()
        sending = asyncio.create_task(send_forever())
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.gather(sending, *sends, return_exceptions=True)


@pytest.fixture
async def fleet(kafka_bootstrap: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with (
        new_cluster(kafka_bootstrap, *TOPICS, partitions=WORKERS) as cluster,
        Model().serving() as model,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
    ):
        made = Fleet(cluster, tmp_path, model, session)
        view = View(cluster.connection, pipeline_topic(cluster.pipeline, "breakers"), take=made.heard)
        await view.start()
        try:
            yield made
        finally:
            await made.end()
            await view.stop()


async def test_an_outage_is_known_to_all_in_three_seconds_and_survives_who_found_it(fleet: Fleet):
    model = fleet.model
    await fleet.start(WORKERS)
    async with fleet.traffic():
        await asyncio.sleep(1.0)
        model.failing = 0.9
        opened_at = await fleet.until_all(State.OPEN, seconds=60)
        possible_at, failed = model.first_possible_at(0.0), model.failed_since(0.0)
        print(
            f"open everywhere {opened_at - possible_at:.2f} s after the first possible decision, {failed} failed calls"
        )
        assert opened_at - possible_at <= 3.0
        assert failed <= 30

        model.failing, wait = 0.0, fleet.word.open_seconds
        closed_at = await fleet.until_all(State.CLOSED, seconds=60)
        print(f"closed everywhere {closed_at - opened_at:.2f} s after it opened, for {wait:.2f} s")
        assert closed_at - opened_at <= wait + 10.0

        epoch = fleet.word.epoch
        model.failing = 0.9
        await fleet.until_all(State.OPEN, seconds=60)
        assert fleet.word.epoch > epoch
        opener = await fleet.named(fleet.openers[fleet.word.epoch])
        fleet.workers.pop(opener).kill()
        model.failing = 0.0
        word, opened_at = fleet.word, time.time()
        await asyncio.sleep(1.0)
        assert set(fleet.states().values()) == {State.OPEN}, "they keep it open without who opened it"
        assert not model.begun_since(opened_at)
        closed_at = await fleet.until_all(State.CLOSED, seconds=word.open_seconds + 60)
        print(f"{opener} opened it for {word.open_seconds:.2f} s and died; closed {closed_at - opened_at:.2f} s later")
        assert closed_at - opened_at <= word.open_seconds + 10.0
        assert fleet.word.epoch == word.epoch, "probed, and not opened again"
        assert not any(call.failed for call in model.begun_since(opened_at))


async def test_all_die_while_it_is_open_and_their_successors_know_and_resume_when_the_wait_is_over(fleet: Fleet):
    model = fleet.model
    await fleet.start(2)
    async with fleet.traffic():
        model.failing = 1.0
        async with asyncio.timeout(60):  # for a moment they are open each for itself
            while fleet.word.phase is not Phase.OPEN:
                await asyncio.sleep(LOOK_SECONDS)
        for worker in fleet.workers.values():
            worker.kill()
        fleet.workers.clear()
        word, opened_at = fleet.word, time.time()
        model.failing = 0.0
        await fleet.start(2)
        ready_at = time.time()
        async with asyncio.timeout(60):
            while not model.begun_since(opened_at):
                await asyncio.sleep(LOOK_SECONDS)
        first_at = model.begun_since(opened_at)[0].began_at
        ready, first = ready_at - opened_at, first_at - opened_at
        print(f"open for {word.open_seconds:.2f} s, ready after {ready:.2f} s, called after {first:.2f} s")
        assert first >= word.open_seconds - 1.0, "they know of it from the log"
        assert first_at <= ready_at + word.open_seconds, "the dead cost no turn"
        await fleet.until_all(State.CLOSED, seconds=60)


async def test_a_worker_whose_own_network_is_cut_opens_for_itself_and_for_no_other(fleet: Fleet):
    await fleet.start(4)
    bad, *others = fleet.workers
    async with fleet.traffic():
        await asyncio.sleep(5.0)
        await fleet.workers[bad].proxy.behave(CUT)
        async with asyncio.timeout(60):
            while fleet.states()[bad] is not State.OPEN:
                await asyncio.sleep(LOOK_SECONDS)
        seen, ends_at = Counter[State](), time.monotonic() + 10.0
        while time.monotonic() < ends_at:
            states = fleet.states()
            seen += Counter(states[name] for name in others)
            await asyncio.sleep(0.5)
        assert set(seen) == {State.CLOSED}
        assert fleet.word.epoch == 0
        await fleet.workers[bad].proxy.behave(PASS)
        await fleet.until_all(State.CLOSED, seconds=120)


async def test_an_operator_holds_it_open_from_the_command_line_until_the_word_ends(fleet: Fleet):
    await fleet.start(1)
    async with fleet.traffic():
        await asyncio.sleep(2.0)
        said = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "failsoft", "breakers", "force", BREAKER, "open"),
            *("--why", "a drill", "--until", "10s", "--bootstrap", fleet.cluster.connection.bootstrap_servers),
            cwd=fleet.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, problem = await said.communicate()
        assert said.returncode == 0, problem
        await fleet.until_all(State.FORCED_OPEN, seconds=10)
        calls = len(fleet.model.calls)
        await asyncio.sleep(2.0)
        assert len(fleet.model.calls) == calls
        await fleet.until_all(State.CLOSED, seconds=30)


async def test_ten_thousand_registers_are_read_within_a_second(fleet: Fleet):
    register = Register(Word(3, Phase.CLOSED, 5.0), buckets=(Counts(10, 1, 0),) * 10)
    topic = pipeline_topic(fleet.cluster.pipeline, "breakers")
    records = [encode_register(BREAKER, f"gone-{n}", register) for n in range(10_000)]
    for begin in range(0, len(records), 500):
        batch = records[begin : begin + 500]
        await asyncio.gather(
            *(fleet.cluster.outbox.send(topic, key=each.key, value=each.value, headers=each.headers) for each in batch)
        )
    await fleet.start(1)
    [worker] = fleet.workers.values()
    async with fleet._session.get(f"{worker.address}/metrics") as response:
        families = {family.name: family for family in text_string_to_metric_families(await response.text())}
    heard = sum(
        sample.value
        for sample in families["failsoft_breaker_records_heard"].samples
        if sample.labels == {"kind": "register", "fate": "taken"} and sample.name.endswith("_total")
    )
    [seconds] = [sample.value for sample in families["failsoft_breakers_read_seconds"].samples]
    print(f"{heard:.0f} registers in {seconds:.2f} s")
    assert heard >= 10_000
    assert seconds < (1.0 if WHOLE else 5.0)  # a second is for a machine that does nothing else
