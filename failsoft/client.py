"""What a producer or consumer in Python uses: ask and wait, or submit now and take the results as they come.

    async with failsoft.Client("broker:9092", pipeline="support") as client:
        result = await client.request(body, request_class="interactive", deadline="2s")

**What it costs.** A client reads the pipeline's whole results topic, from the moment it is opened and before it sends
anything, because a result has no address: any worker may write it into any partition. Of foreign results only the key is
looked at, but all bytes cross the network. So open one client per process and share it, not one per request; a service
whose share of the results is small should name a topic of its own in ``reply_to`` instead.

**What it promises.** An acknowledged request has exactly one visible result; ``request`` waits for it. It gives up only when none
has come long after the deadline, which means that workers are down, or when the topic cannot be read any more, with the error
that says why. The result will still be in the topic.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from failsoft.catalogue import Catalogue, load, results_topic
from failsoft.kafka import Connection, Outbox, ResultReader, partition_counts
from failsoft.pipeline import Pipeline
from failsoft.policy.durations import Duration, parse_duration
from failsoft.policy.errors import ConfigurationError, FailsoftError, MalformedRecord
from failsoft.policy.request import ClassName
from failsoft.runtime.submission import Destination, choose_destination, choose_pipeline
from failsoft.wire import Identity, RequestLine, Result
from failsoft.wire.body import encode_request, gathered
from failsoft.wire.identity import result_id
from failsoft.wire.result import decode_result

OVERDUE_SECONDS = 30.0
"""Past its deadline a request still gets its result as soon as any worker sees it: a rebalance after a crash takes 6 to 20 s."""


class ResultOverdue(FailsoftError):  # noqa: N818 - it may still come
    """No result long after the deadline. The request is in the log and will have one when a worker runs again.

    Attributes:
        result_id: the id that its result will have.
    """

    def __init__(self, id_: str) -> None:
        """Name the result to look for."""
        super().__init__(
            f"no result {id_} {OVERDUE_SECONDS:g} s past the deadline: does a worker run? See `failsoft doctor`"
        )
        self.result_id = id_


class Client:
    """Sends requests into one pipeline and takes their results.

    Args:
        bootstrap: HOST:PORT of the cluster; else KAFKA_BOOTSTRAP_SERVERS.
        pipeline: its name, or the pipeline itself: then requests that its first stage takes for equal meet at one worker, also
            where its ``coalesce`` is not the default. Not needed where topics.yaml has only one.
        catalogue: the topic catalogue, or its path; else ./topics.yaml.
        tenant: whose the requests are.
    """

    def __init__(
        self,
        bootstrap: str | None = None,
        *,
        pipeline: str | Pipeline | None = None,
        catalogue: Catalogue | Path | str | None = None,
        tenant: str | None = None,
    ) -> None:
        given = Path(catalogue) if isinstance(catalogue, str) else catalogue
        self._catalogue = given if isinstance(given, Catalogue) else load(given)
        self._pipeline = choose_pipeline(self._catalogue, pipeline.name if isinstance(pipeline, Pipeline) else pipeline)
        self._declared = pipeline if isinstance(pipeline, Pipeline) else None
        self._connection = Connection.from_environment(bootstrap)
        self._tenant = tenant
        self._source = f"/client/{uuid4()}"
        self._numbers = itertools.count(1)
        self._outbox = Outbox(self._connection)
        self._reader = ResultReader(self._connection, results_topic(self._pipeline), start="end")
        self._waiting: dict[bytes, asyncio.Future[Result]] = {}
        self._submitted: list[str] = []
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Connect, and begin to read results before the first request is sent."""
        await partition_counts(self._connection, self._stage_topics())
        await self._reader.start()
        try:
            await self._outbox.start()
        except BaseException:
            await self._reader.stop()
            raise
        self._reading = asyncio.get_running_loop().create_task(self._read())
        self._reading.add_done_callback(self._read_no_more)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close. Requests that were acknowledged stay in the log and get their results."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        for future in self._waiting.values():
            future.cancel()
        await self._reader.stop()
        await self._outbox.close()

    async def request(
        self,
        body: Mapping[str, Any],
        *,
        request_class: ClassName,
        deadline: Duration | None = None,
        url: str = "/v1/chat/completions",
        custom_id: str | None = None,
        coalesce_key: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Result:
        """Send a request and wait for its result, whatever its outcome.

        Args:
            body: of the model's API, such as a chat completion.
            request_class: urgency, one of topics.yaml.
            deadline: how long it may take; the class's own where not said.
            url: the path of the model's API.
            custom_id: echoed in the result.
            coalesce_key: names what is asked: requests of one tenant with the same share a call and its answer.
            context: what was gathered for it already, by name: the value, gathered now, or a
                :class:`~failsoft.wire.ContextPart` of another age or state. Stages look at the parts that they declare.

        Raises:
            ConfigurationError: no such class, or a deadline that the class does not take.
            MalformedRecord: the body or the context is no request's; names the field.
            ResultOverdue: no result long after the deadline.
        """
        destination = self._destination(request_class, deadline)
        id_ = await self._send(
            destination, body, url=url, custom_id=custom_id, coalesce_key=coalesce_key, context=context or {}
        )
        try:
            async with asyncio.timeout(destination.budget_seconds + OVERDUE_SECONDS):
                return await self._waiting[id_.encode()]
        except TimeoutError:
            raise ResultOverdue(id_) from None
        finally:
            self._waiting.pop(id_.encode(), None)

    async def submit(
        self,
        body: Mapping[str, Any],
        *,
        request_class: ClassName,
        deadline: Duration | None = None,
        url: str = "/v1/chat/completions",
        custom_id: str | None = None,
        coalesce_key: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> str:
        """Send a request and return when the broker has it; its result comes through :meth:`results`. Arguments as in request.

        Returns:
            The id that its result will have.
        """
        destination = self._destination(request_class, deadline)
        id_ = await self._send(
            destination, body, url=url, custom_id=custom_id, coalesce_key=coalesce_key, context=context or {}
        )
        self._submitted.append(id_)
        return id_

    async def results(self, ids: Iterable[str] | None = None) -> AsyncIterator[Result]:
        """Yield the results of submitted requests as they come, each once; ends when all have come.

        Args:
            ids: as submit returned them; all that were submitted so far and not yet yielded, where not said.
        """
        wanted = list(self._submitted if ids is None else ids)
        for id_ in wanted:
            if id_.encode() not in self._waiting:
                raise ConfigurationError(f"result {id_}: not submitted by this client, or already yielded")
        for coming in asyncio.as_completed([self._waiting[id_.encode()] for id_ in wanted]):
            result = await coming
            self._waiting.pop(result.id.encode(), None)
            self._submitted.remove(result.id)
            yield result

    def _destination(self, request_class: ClassName, deadline: Duration | None) -> Destination:
        return choose_destination(
            self._catalogue,
            pipeline=self._declared or self._pipeline,
            request_class=request_class,
            deadline_seconds=None if deadline is None else parse_duration(deadline, field="deadline"),
            tenant=self._tenant,
        )

    async def _send(
        self,
        destination: Destination,
        body: Mapping[str, Any],
        *,
        url: str,
        custom_id: str | None,
        coalesce_key: str | None,
        context: Mapping[str, Any],
    ) -> str:
        if self._reading is not None and self._reading.done():
            self._reading.result()  # nobody would see what comes of it
        number = str(next(self._numbers))
        identity = Identity(self._source, number)
        now = time.time()
        line = RequestLine(custom_id or number, url, dict(body), gathered(context, at=now))
        value = encode_request(line)
        record = destination.record(line, value, identity, sent_at=now, coalesce_key=coalesce_key)
        id_ = result_id(identity)
        self._waiting[id_.encode()] = asyncio.get_running_loop().create_future()
        try:
            await self._outbox.send(destination.topic, key=record.key, value=record.value, headers=record.headers)
        except BaseException:
            del self._waiting[id_.encode()]
            raise
        return id_

    async def _read(self) -> None:
        async for record in self._reader.records():
            future = self._waiting.get(record.key or b"")
            if future is None or future.done():
                continue
            try:
                future.set_result(decode_result(record.headers, record.value))
            except MalformedRecord as error:
                future.set_exception(error)

    def _read_no_more(self, reading: "asyncio.Task[None]") -> None:
        """Tell those who wait what ended the reading: else they would wait until long after their deadlines."""
        error = None if reading.cancelled() else reading.exception()
        for future in self._waiting.values():
            if error is not None and not future.done():
                future.set_exception(error)

    def _stage_topics(self) -> Iterable[str]:
        first = self._catalogue.pipelines[self._pipeline][0]
        return self._catalogue.stage_topics(self._pipeline, first).values()
