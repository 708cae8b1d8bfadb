"""Sends requests into a pipeline: where they go, what they are granted, and each line of a batch file as one request.

A batch file is sent as it is: the value of a request is its line's own bytes. A request is named by the SHA-256 of the file
and the number of its line, so the same file sent again asks the same requests again, and a submission that was cut off is
repeated without asking anything new. ``custom_id`` is echoed and never identity: two files, and two lines, may use it twice.

The key is the content key as the stage declares it, where the sender knows the stage; else as far as it can be told without
(deterministic requests share one). The worker computes its own, and a key that turns out otherwise only costs a repeated call.
Everything else is keyed by the result's id, which spreads it evenly.

The budget begins when a line is handed over to be sent, not when the file was opened: a request of 5 s would otherwise expire
on disk.
"""

import asyncio
import time
from collections.abc import Callable, Container
from dataclasses import dataclass

from failsoft.catalogue import Catalogue, ClassSettings, requests_topic
from failsoft.kafka import Acknowledged, Outbox, RecordRefused
from failsoft.pipeline import Pipeline, Stage
from failsoft.policy.errors import ConfigurationError, MalformedRecord
from failsoft.policy.request import ClassName
from failsoft.runtime.batch_file import BatchFile, BatchLine
from failsoft.runtime.window import Window
from failsoft.wire import Envelope, Identity, Record, RequestLine
from failsoft.wire.content_key import content_key
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.identity import result_id

BATCH_CLASS: ClassName = "batch"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where requests go, and what they are granted.

    Attributes:
        stage: who takes them first, as ``<pipeline>.<stage>``.
        topic: the topic of that stage and the requests' class.
        request_class: urgency.
        budget_seconds: how long each may take.
        tenant: whose they are.
        declared: the stage itself, where the sender knows it: it says which requests are equal.
    """

    stage: str
    topic: str
    request_class: ClassName
    budget_seconds: float
    tenant: str | None = None
    declared: Stage | None = None

    def record(
        self, line: RequestLine, value: bytes, identity: Identity, *, sent_at: float, coalesce_key: str | None = None
    ) -> Record:
        """Write one request.

        Args:
            line: what is asked.
            value: the same as bytes, sent as they are.
            identity: names the request.
            sent_at: now, on this host's wall clock, epoch seconds.
            coalesce_key: names what is asked, in place of its content.

        Raises:
            MalformedRecord: a worker would refuse it; names the header.
        """
        envelope = Envelope(identity, tenant=self.tenant, coalesce_key=coalesce_key)
        key = self._content_key(line, envelope) or result_id(identity)
        headers = encode_request_headers(envelope, budget_seconds=self.budget_seconds, sent_at=sent_at)
        return Record(key.encode(), value, headers)

    def _content_key(self, line: RequestLine, envelope: Envelope) -> str | None:
        if self.declared is not None:
            return self.declared.content_key(line, envelope)
        return content_key(line, tenant=self.tenant, stage=self.stage, coalesce_key=envelope.coalesce_key)


def choose_destination(
    catalogue: Catalogue,
    *,
    pipeline: str | Pipeline | None = None,
    request_class: ClassName | None = None,
    deadline_seconds: float | None = None,
    tenant: str | None = None,
) -> Destination:
    """Decide where requests go, from what was said and what the catalogue has.

    Args:
        catalogue: the pipelines and classes there are.
        pipeline: its name, or itself: then equal requests are those that its stage takes for equal. None for the only one.
        request_class: None for ``batch``, or the least urgent one where no class is called so.
        deadline_seconds: None for the class's own.
        tenant: whose the requests are.

    Raises:
        ConfigurationError: there is no such pipeline or class, or the deadline is not one of the class.
        MalformedRecord: the tenant cannot stand in a header.
    """
    name = choose_pipeline(catalogue, pipeline.name if isinstance(pipeline, Pipeline) else pipeline)
    settings = _choose_class(catalogue, request_class)
    stage = catalogue.pipelines[name][0]
    chosen = Destination(
        stage=f"{name}.{stage}",
        topic=requests_topic(name, stage, settings.name),
        request_class=settings.name,
        budget_seconds=choose_budget(settings, deadline_seconds),
        tenant=tenant,
        declared=pipeline.stages.get(stage) if isinstance(pipeline, Pipeline) else None,
    )
    trial = Envelope(
        Identity("/trial", "0"), tenant=tenant
    )  # what is wrong with every request is told before the first
    encode_request_headers(trial, budget_seconds=chosen.budget_seconds, sent_at=0.0)
    return chosen


def choose_pipeline(catalogue: Catalogue, pipeline: str | None) -> str:
    """Take the pipeline that was named, else the only one.

    Raises:
        ConfigurationError: none was named and there are several, or there is no such one; lists them.
    """
    known = ", ".join(catalogue.pipelines)
    if pipeline is None:
        if len(catalogue.pipelines) != 1:
            raise ConfigurationError(f"which pipeline? topics.yaml has {known}; pass --pipeline NAME")
        return next(iter(catalogue.pipelines))
    if pipeline not in catalogue.pipelines:
        raise ConfigurationError(f"no pipeline {pipeline!r} in topics.yaml, which has {known}")
    return pipeline


def _choose_class(catalogue: Catalogue, request_class: ClassName | None) -> ClassSettings:
    if request_class is None:
        return catalogue.classes.get(BATCH_CLASS) or list(catalogue.classes.values())[-1]
    if request_class not in catalogue.classes:
        raise ConfigurationError(f"no class {request_class!r} in topics.yaml, which has {', '.join(catalogue.classes)}")
    return catalogue.classes[request_class]


def choose_budget(settings: ClassSettings, deadline_seconds: float | None) -> float:
    """Take the deadline that was asked for, else the class's own, seconds.

    Raises:
        ConfigurationError: it is not one of the class.
    """
    if deadline_seconds is None:
        return settings.deadline_seconds
    if not 0 < deadline_seconds <= settings.deadline_max_seconds:
        raise ConfigurationError(
            f"a deadline of {deadline_seconds:g} s is not possible in the class {settings.name}: "
            f"it takes more than 0 and at most {settings.deadline_max_seconds:g} s (deadline_max in topics.yaml)"
        )
    return deadline_seconds


@dataclass(frozen=True, slots=True)
class Accepted:
    """The broker has this request, so it will have a result.

    Attributes:
        line_number: which it was.
        size_bytes: of the line.
        result_id: the id that its result will have.
        custom_id: what its sender calls it.
        place: where it stands in the log.
    """

    line_number: int
    size_bytes: int
    result_id: str
    custom_id: str
    place: Acknowledged


@dataclass(frozen=True, slots=True)
class Refused:
    """This line is no request, and nothing was sent.

    Attributes:
        line_number: which it was.
        size_bytes: of the line.
        problem: what is wrong, the member first.
    """

    line_number: int
    size_bytes: int
    problem: str


async def submit_batch(
    outbox: Outbox,
    file: BatchFile,
    destination: Destination,
    on_end: Callable[[Accepted | Refused], None],
    *,
    only: Container[int] | None = None,
) -> None:
    """Send every line, and return when each has been acknowledged or refused.

    The topic has to exist: a send to one that does not waits for it. A line that is refused stops no other. Lines are handed
    over in order; acknowledgements may come in another.

    Args:
        outbox: to the cluster, started.
        file: the requests.
        destination: where they go.
        on_end: told of every line once.
        only: the numbers of the lines to send; None for all.

    Raises:
        ConfigurationError: the file changed meanwhile.
    """
    window = Window()

    async def send(line: BatchLine) -> None:
        try:
            on_end(await _send_line(outbox, line, Identity.of_batch_line(file.id, line.number), destination))
        finally:
            window.leave(len(line.value))

    async with asyncio.TaskGroup() as sending:
        for line in file.lines():
            if only is not None and line.number not in only:
                continue
            await window.enter(len(line.value))
            sending.create_task(send(line))
    file.require_unchanged()


async def _send_line(
    outbox: Outbox, line: BatchLine, identity: Identity, destination: Destination
) -> Accepted | Refused:
    try:
        request = line.decode()
        record = destination.record(request, line.value, identity, sent_at=time.time())
        place = await outbox.send(destination.topic, key=record.key, value=record.value, headers=record.headers)
    except (MalformedRecord, RecordRefused) as error:
        return Refused(line.number, line.size_bytes, str(error))
    return Accepted(line.number, line.size_bytes, result_id(identity), request.custom_id, place)
