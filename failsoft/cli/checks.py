"""What `failsoft doctor` looks at: this machine, the cluster, its topics, its clock, and what a pipeline calls.

Each check says what it found and, unless all is well, the fix. A check that needs what an earlier one has not found is left out:
one cause, one line.
"""

import asyncio
import os
import platform
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

from failsoft.catalogue import Catalogue, Create, Plan, load, pipeline_topic
from failsoft.endpoints import Checkable
from failsoft.kafka import Connection, Outbox, admin
from failsoft.kafka.connection import names_a_broker
from failsoft.kafka.reach import Reached, reach
from failsoft.pipeline import Pipeline, load_pipeline
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure, FailsoftError
from failsoft.runtime.clock_probe import PROBE_TYPE
from failsoft.testing.java import find_java

ANSWER_SECONDS = 10.0
"""For an endpoint or an acknowledgement; one that needs longer to say what it is would not serve a deadline either."""
CLOCK_WARNING_SECONDS = 1.0
"""Deadlines do not need clocks that agree, but people who compare logs do, and so does ``ce_expirytime`` of foreign producers."""
NAMED_TOPICS = 5


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a diagnosis.

    Attributes:
        name: what was looked at.
        status: how it is.
        text: what was found, and the fix.
    """

    name: str
    status: Status
    text: str


@dataclass(frozen=True, slots=True)
class Patient:
    """What to look at.

    Attributes:
        bootstrap: of the cluster; else the environment names it.
        catalogue: file; the usual one where not said.
        pipeline: MODULE:NAME, None to leave endpoints out.
    """

    bootstrap: str | None
    catalogue: Path | None
    pipeline: str | None


async def examine(patient: Patient) -> AsyncIterator[Check]:
    """Check everything, in the order in which one thing needs another."""
    yield _versions()
    yield _java(patient)
    catalogue = None
    try:
        catalogue = load(patient.catalogue)
    except ConfigurationError as error:
        yield Check("catalogue", Status.FAIL, str(error))
    pipeline = None
    if patient.pipeline is not None:
        try:
            pipeline = load_pipeline(patient.pipeline)
            if catalogue is not None:
                pipeline.check(catalogue)
        except ConfigurationError as error:
            yield Check("pipeline", Status.FAIL, str(error))
    async for check in _cluster(patient, catalogue, pipeline):
        yield check
    async for check in _endpoints(pipeline):
        yield check


def _versions() -> Check:
    names = ("failsoft", "aiokafka")
    listed = ", ".join([*(f"{name} {version(name)}" for name in names), f"Python {platform.python_version()}"])
    return Check("versions", Status.OK, listed)


def _java(patient: Patient) -> Check:
    """Java is for the broker that demo and tests start themselves; who has one does without."""
    try:
        java = find_java()
    except EnvironmentFailure as error:
        needs_none = patient.bootstrap or os.environ.get("FAILSOFT_BROKER") == "docker" or _is_broker_named()
        return Check("java", Status.WARN if needs_none else Status.FAIL, str(error))
    return Check("java", Status.OK, f"Java {java.feature} at {java.executable}")


def _is_broker_named() -> bool:
    try:
        return names_a_broker()
    except ConfigurationError:  # told by the check of the broker
        return True


async def _cluster(patient: Patient, catalogue: Catalogue | None, pipeline: Pipeline | None) -> AsyncIterator[Check]:
    if not patient.bootstrap and not _is_broker_named():
        yield Check(
            "broker",
            Status.WARN,
            "none named, demo and tests start one of their own; "
            "for another pass --bootstrap HOST:PORT or set KAFKA_BOOTSTRAP_SERVERS",
        )
        return
    try:
        connection = Connection.from_environment(patient.bootstrap)
        reached = await reach(connection)
    except FailsoftError as error:
        yield Check("broker", Status.FAIL, str(error))
        return
    yield _broker(connection, reached)
    if catalogue is not None:
        name = pipeline.name if pipeline is not None else next(iter(catalogue.pipelines))
        async for check in _topics_and_clock(connection, catalogue, pipeline_topic(name, "outcomes")):
            yield check


def _broker(connection: Connection, reached: Reached) -> Check:
    found = f"{connection.bootstrap_servers}, brokers: {reached.brokers}"
    if reached.is_kafka_4:
        return Check("broker", Status.OK, f"{found}, Kafka 4.0 or newer")
    return Check("broker", Status.WARN, f"{found}, older than Kafka 4.0; failsoft is tested on 4.4: upgrade it")


async def _topics_and_clock(connection: Connection, catalogue: Catalogue, outcomes: str) -> AsyncIterator[Check]:
    try:
        plan = await admin.plan(connection, catalogue)
    except FailsoftError as error:
        yield Check("topics", Status.FAIL, str(error))
        return
    for check in _topics(plan):
        yield check
    if outcomes not in {each.topic.name for each in plan.entries if isinstance(each, Create)}:
        yield await _clock(connection, outcomes)


def _topics(plan: Plan) -> Iterator[Check]:
    missing = [each.topic.name for each in plan.entries if isinstance(each, Create)]
    if missing:
        more = f" and {len(missing) - NAMED_TOPICS} more" if len(missing) > NAMED_TOPICS else ""
        listed = ", ".join(missing[:NAMED_TOPICS])
        yield Check("topics", Status.FAIL, f"missing: {listed}{more}; run `failsoft topics apply`")
    if others := len(plan.entries) - len(missing):
        text = f"{others} not as the catalogue wants; `failsoft topics plan` shows how, `failsoft topics apply` helps"
        yield Check("topics", Status.FAIL, text)
    if plan.is_in_step:
        yield Check("topics", Status.OK, "as the catalogue wants them")
    for warning in plan.warnings:
        yield Check("topics", Status.WARN, warning)


async def _clock(connection: Connection, topic: str) -> Check:
    """Send what a worker sends at its start, and read the broker's clock from the acknowledgement."""
    outbox = Outbox(connection)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await outbox.start()
            acknowledged = await outbox.send(topic, key=None, value=b"", headers=[("ce_type", PROBE_TYPE.encode())])
    except (FailsoftError, TimeoutError) as error:
        reason = str(error) or f"no acknowledgement within {ANSWER_SECONDS:g} s"
        return Check("clock", Status.FAIL, f"{topic}: {reason}; look at the broker's log and at its in-sync replicas")
    finally:
        await outbox.close()
    if acknowledged.appended_at is None:
        fix = "set message.timestamp.type: LogAppendTime in topics.yaml and run `failsoft topics apply`"
        return Check("clock", Status.FAIL, f"{topic} keeps the sender's time, so no deadline can be judged; {fix}")
    seconds, doubt = outbox.clock_offset.seconds, outbox.clock_offset.uncertainty_seconds
    text = f"the broker's is {seconds:+.3f} s from this host's (± {doubt:.3f} s)"
    if abs(seconds) - doubt > CLOCK_WARNING_SECONDS:
        return Check("clock", Status.WARN, f"{text}; have both follow the same time server")
    return Check("clock", Status.OK, text)


async def _endpoints(pipeline: Pipeline | None) -> AsyncIterator[Check]:
    """Ask every endpoint that can be asked; what a function calls only its author knows."""
    for stage in pipeline.stages.values() if pipeline is not None else ():
        for tier in stage.tiers:
            if isinstance(tier.serves, Checkable):
                yield await _endpoint(f"endpoint {stage.name}.{tier.settings.name}", tier.serves)


async def _endpoint(name: str, endpoint: Checkable) -> Check:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await endpoint.open()
            remark = await endpoint.check()
    except TimeoutError:
        return Check(name, Status.FAIL, f"no answer within {ANSWER_SECONDS:g} s; is the server well?")
    except FailsoftError as error:
        return Check(name, Status.FAIL, str(error))
    finally:
        await endpoint.close()
    return Check(name, Status.OK, "answers") if remark is None else Check(name, Status.WARN, remark)
