"""Roles against a real broker that enforces the catalogue's ACLs: each allowed thing works, and every other one is denied."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import CreateAclsRequest

from failsoft.catalogue import Catalogue, Role, parse, rights
from failsoft.failover.kafka_book import KafkaBook
from failsoft.failover.run import Kind, Run
from failsoft.kafka import Inbox, Outbox, ResultReader, View, ViewRecord, admin
from failsoft.kafka.connection import Connection
from failsoft.policy.errors import EnvironmentFailure
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.request import Partition
from failsoft.policy.rollup import Kind as Ends
from failsoft.policy.rollup import RollUp
from failsoft.policy.routing import Route
from failsoft.wire import RequestLine, dead_letter_mark
from failsoft.wire.body import encode_request
from failsoft.wire.dead_letter import DeadLetter, encode_dead_letter
from failsoft.wire.dead_letter_mark import Mark, encode_mark
from failsoft.wire.rollup import encode_rollup
from tests.kafka.authority import Authority
from tests.kafka.conftest import Listener, until
from tests.kafka.secured import secured_broker, speaking
from tests.streams.site import needs_faust

pytestmark = pytest.mark.kafka

CATALOGUE_TEXT = """
version: 1
defaults: {partitions: 1, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes: {batch: {weight: 1, deadline: 1h, deadline_max: 2h}}
pipelines: {shop: [find, answer], solo: [only]}
topics:
  requests:     {config: {retention.ms: 7d}}
  results:      {config: {retention.ms: 7d}}
  dead-letters: {config: {retention.ms: 14d}}
  outcomes:     {config: {retention.ms: 1h}}
  answers:      {config: {cleanup.policy: compact}}
  breakers:     {config: {cleanup.policy: compact}}
  latency:      {config: {cleanup.policy: compact}}
  degradation:  {config: {cleanup.policy: compact}}
  controls:     {config: {cleanup.policy: compact}}
  drills:       {config: {cleanup.policy: compact}}
reply_topics: [for-app]
"""
CATALOGUE: Catalogue = parse(CATALOGUE_TEXT)
PIPELINE = """
from failsoft import Call, Output, Pipeline
pipeline = Pipeline("solo")

@pipeline.stage("only").tier("echo")
async def echo(call: Call) -> Output:
    return Output(call.body)
"""
ROOT = Path(__file__).parents[2]
GROUP = "failsoft.shop.find"
STRANGER = "stranger"
USERS = {name: f"word-of-{name}" for name in (*Role, STRANGER)}
CERTIFICATE = "User:CN=localhost"
"""What the broker calls whoever brings the tests' certificate."""
DENIED = (
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
)
SECONDS = 20.0
CODES = {
    "topic": 2, "group": 3,
    "Read": 3, "Write": 4, "Create": 5, "Alter": 7, "Describe": 8, "AlterConfigs": 11,
}  # fmt: skip
"""Numbers of the protocol."""
LITERAL, PREFIXED, ALLOW = 3, 4, 3


@dataclass(frozen=True)
class Guarded:
    """The broker, with the catalogue's topics, a record in each, and the rights of every role."""

    servers: dict[str, str]
    authority: Authority

    def by(self, user: str) -> Connection:
        return speaking(self.servers, self.authority, "BOTH", user=(user, USERS[user]))


@pytest.fixture(scope="module")
def guarded(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    settings = {
        "authorizer_class_name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super_users": "User:ANONYMOUS",  # who comes in the clear, on this machine: the broker itself, and this fixture
    }
    with secured_broker(tmp_path_factory.mktemp("guarded"), authority, USERS, **settings) as servers:
        asyncio.run(prepared(Connection(servers["PLAINTEXT"])))
        yield Guarded(servers, authority)


async def prepared(connection: Connection) -> None:
    await admin.apply(connection, CATALOGUE)
    client = AIOKafkaAdminClient(**connection.client_options())
    await client.start()
    await client.create_topics([NewTopic("for-app", 1, 1)])
    for role in Role:
        await grant(client, f"User:{role}", role)
    await grant(client, CERTIFICATE, Role.READER)
    await client.close()
    outbox = Outbox(connection)
    await outbox.start()
    for name in (*(spec.name for spec in CATALOGUE.wanted_topics()), "for-app"):
        await outbox.send(name, key=b"k", value=b"v")
    await outbox.close()


async def grant(client: AIOKafkaAdminClient, principal: str, role: Role) -> None:
    for right in rights(CATALOGUE, role):
        for operation in right.operations:
            pattern = PREFIXED if right.is_prefix else LITERAL
            request = CreateAclsRequest(
                CODES[right.resource], right.name, pattern, principal, "*", CODES[operation], ALLOW
            )
            answer = await client._send_request(request)
            assert [code for code, _ in answer.creation_responses] == [0]


# What somebody may try.


async def write(connection: Connection, topic: str) -> None:
    producer = AIOKafkaProducer(**connection.client_options(), enable_idempotence=True, acks="all")
    try:
        await producer.start()
        await producer.send_and_wait(topic, b"v", key=b"k")
    finally:
        await producer.stop()


async def read(connection: Connection, topic: str) -> None:
    consumer = AIOKafkaConsumer(**connection.client_options(), auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer._client.force_metadata_update()
        if topic in consumer._client.cluster.unauthorized_topics:
            raise errors.TopicAuthorizationFailedError(topic)
        assert (await consumer.getone()).value == b"v"
    finally:
        await consumer.stop()


async def commit(connection: Connection, topic: str) -> None:
    consumer = AIOKafkaConsumer(**connection.client_options(), group_id=GROUP, enable_auto_commit=False)
    try:
        await consumer.start()
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.commit({TopicPartition(topic, 0): 0})
    finally:
        await consumer.stop()


def administered(deed: Callable[[AIOKafkaAdminClient, str], Awaitable[list[int]]]) -> "Deed":
    async def do(connection: Connection, topic: str) -> None:
        client = AIOKafkaAdminClient(**connection.client_options())
        await client.start()
        try:
            for code in await deed(client, topic):
                if code:
                    raise errors.for_code(code)
        finally:
            await client.close()

    return do


async def _create(client: AIOKafkaAdminClient, topic: str) -> list[int]:
    answer = await client.create_topics([NewTopic(f"{topic}-more", 1, 1)], validate_only=True)
    return [code for _, code, _ in answer.topic_errors]


async def _delete(client: AIOKafkaAdminClient, topic: str) -> list[int]:
    return [code for _, code in (await client.delete_topics([topic])).topic_error_codes]


async def _change(client: AIOKafkaAdminClient, topic: str) -> list[int]:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, SETTINGS.get(topic, {}))  # it replaces all that is set
    return [code for answer in await client.alter_configs([resource]) for code, *_ in answer.resources]


async def _look(client: AIOKafkaAdminClient, topic: str) -> list[int]:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    return [code for answer in await client.describe_configs([resource]) for code, *_ in answer.resources]


async def _grant_oneself(client: AIOKafkaAdminClient, topic: str) -> list[int]:
    request = CreateAclsRequest(CODES["topic"], topic, LITERAL, "User:*", "*", CODES["Write"], ALLOW)
    return [code for code, _ in (await client._send_request(request)).creation_responses]


SETTINGS = {spec.name: dict(spec.config) for spec in CATALOGUE.wanted_topics()}
Deed = Callable[[Connection, str], Awaitable[None]]
DEEDS: dict[str, Deed] = {
    "write": write,
    "read": read,
    "commit": commit,
    "create": administered(_create),
    "delete": administered(_delete),
    "change": administered(_change),
    "look at the settings of": administered(_look),
    "give rights on": administered(_grant_oneself),
}
PLACES = {
    "requests": "shop.find.batch",
    "later requests": "shop.answer.batch",
    "results": "shop.results",
    "dead letters": "shop.dead-letters",
    "outcomes": "shop.outcomes",
    "answers": "shop.answers",
    "breakers": "shop.breakers",
    "latency": "shop.latency",
    "degradation": "shop.degradation",
    "controls": "shop.controls",
    "drills": "shop.drills",
    "replies": "for-app",
}
OPERATED = set(PLACES) - {"replies"}
ALLOWED = {
    ("producer", "write", "requests"),
    ("reader", "read", "results"),
    ("worker", "read", "requests"),
    ("worker", "commit", "requests"),
    ("worker", "read", "later requests"),
    ("worker", "commit", "later requests"),
    ("worker", "write", "later requests"),
    ("worker", "write", "results"),
    ("worker", "write", "dead letters"),
    ("worker", "read", "outcomes"),
    ("worker", "write", "outcomes"),
    ("worker", "read", "answers"),
    ("worker", "write", "answers"),
    ("worker", "read", "breakers"),
    ("worker", "write", "breakers"),
    ("worker", "read", "controls"),
    ("worker", "read", "latency"),
    *(
        ("worker", "commit", place) for place in ("outcomes", "answers", "breakers", "controls", "latency")
    ),  # which means nothing: who may read may commit
    ("worker", "write", "replies"),
    ("streams", "read", "outcomes"),
    *(("streams", deed, place) for deed in ("read", "write") for place in ("latency", "degradation")),
    *(
        ("replayer", deed, place)
        for deed in ("read", "write")
        for place in ("requests", "later requests", "dead letters")
    ),
    ("operator", "read", "dead letters"),
    ("operator", "read", "breakers"),
    ("operator", "read", "degradation"),
    ("operator", "read", "controls"),
    ("operator", "write", "controls"),
    ("operator", "read", "drills"),
    ("operator", "write", "drills"),
    *(("operator", deed, place) for deed in ("create", "change", "look at the settings of") for place in OPERATED),
}
MATRIX = [(user, deed) for user in USERS for deed in DEEDS]


@pytest.mark.parametrize(("user", "deed"), MATRIX, ids=[f"{user}-{deed}" for user, deed in MATRIX])
async def test_a_role_may_do_what_it_needs_and_nothing_else(guarded: Guarded, user: str, deed: str):
    done = set()
    for place, topic in PLACES.items():
        async with asyncio.timeout(SECONDS):
            with suppress(*DENIED):
                await DEEDS[deed](guarded.by(user), topic)
                done.add(place)
    assert done == {place for who, what, place in ALLOWED if (who, what) == (user, deed)}


# The same, with what really runs.


async def test_a_worker_and_the_others_round_it_can_do_their_work_with_the_rights_of_their_roles(guarded: Guarded):
    sender, listener = Outbox(guarded.by(Role.PRODUCER)), Listener()
    await sender.start()
    sent = await sender.send("shop.find.batch", key=b"k", value=b"asked")
    inbox = Inbox(
        guarded.by(Role.WORKER), pipeline="shop", stage="find", topics={"batch": PLACES["requests"]}, listener=listener
    )
    await inbox.start()
    await until(lambda: any(fetched.record.offset == sent.offset for fetched in listener.taken))
    answers = Outbox(guarded.by(Role.WORKER))
    await answers.start()
    await answers.send("shop.results", key=b"id", value=b"answered")
    assert listener.owned.keys() == {Partition("batch", 0)}
    reader = ResultReader(guarded.by(Role.READER), "shop.results", start="beginning", until_end=True)
    await reader.start()
    assert b"answered" in [record.value async for record in reader.records()]
    await asyncio.gather(reader.stop(), inbox.stop(), sender.close(), answers.close())


async def run(guarded: Guarded, role: Role, folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    """A command of ours, by a role."""
    said = {
        "KAFKA_BOOTSTRAP_SERVERS": guarded.servers["BOTH"],
        "FAILSOFT_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "FAILSOFT_KAFKA_CA_FILE": str(guarded.authority.ca),
        "FAILSOFT_KAFKA_USERNAME": role,
        "FAILSOFT_KAFKA_PASSWORD": USERS[role],
        "PYTHONPATH": f"{ROOT}:{folder}",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "failsoft", *arguments,
        cwd=folder, env={**os.environ, **said}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_the_commands_work_under_the_rights_of_those_who_give_them(guarded: Guarded, tmp_path: Path):
    (tmp_path / "topics.yaml").write_text(CATALOGUE_TEXT)
    (tmp_path / "solo.py").write_text(PIPELINE)
    (tmp_path / "in.jsonl").write_bytes(encode_request(RequestLine("a", "/v1/x", {"n": 1})) + b"\n")
    worker = await run(guarded, Role.WORKER, tmp_path, "worker", "solo:pipeline")
    try:
        submitting = await run(guarded, Role.PRODUCER, tmp_path, "submit", "in.jsonl", "--pipeline", "solo")
        job, problem = await submitting.communicate()
        assert submitting.returncode == 0, problem
        wanted = ("results", "--pipeline", "solo", "--job", job.decode().split()[0], "--follow", "--expect", "1")
        reading = await run(guarded, Role.READER, tmp_path, *wanted)
        found, problem = await reading.communicate()
        assert reading.returncode == 0, problem
        assert orjson.loads(found)["response"]["body"] == {"n": 1}
    finally:
        worker.send_signal(signal.SIGTERM)
        _, said = await worker.communicate()
    assert worker.returncode == 0, said
    planning = await run(guarded, Role.OPERATOR, tmp_path, "topics", "plan")
    assert b"nothing to do" in (await planning.communicate())[0]


@needs_faust
async def test_an_app_of_streams_does_its_work_with_the_rights_of_its_role(guarded: Guarded, tmp_path: Path):
    (tmp_path / "topics.yaml").write_text(CATALOGUE_TEXT)
    rollup = RollUp("only", {Ends("batch", 1, Reason.NONE, Outcome.OK): 7}, {})
    told = encode_rollup(rollup, pipeline="solo", id_="1")
    outbox, found = Outbox(guarded.by(Role.WORKER)), list[ViewRecord]()
    await outbox.start()
    await outbox.send("solo.outcomes", key=told.key, value=told.value, headers=told.headers)
    await outbox.close()
    app = await run(guarded, Role.STREAMS, tmp_path, "streams", "degradation", "--pipeline", "solo")
    view = View(guarded.by(Role.OPERATOR), "solo.degradation", take=found.extend)
    await view.start()
    ending = asyncio.create_task(app.wait())
    try:
        await until(lambda: ending.done() or any(b'"counts":{"ok":' in (record.value or b"") for record in found))
    finally:
        if not ending.done():
            app.send_signal(signal.SIGTERM)
        _, said = await app.communicate()
        await view.stop()
    assert app.returncode == 0, said


async def test_a_replayer_can_go_on_with_a_replay_that_was_cut_off_and_an_operator_can_look(
    guarded: Guarded, tmp_path: Path
):
    (tmp_path / "topics.yaml").write_text(CATALOGUE_TEXT)
    value = encode_request(RequestLine("a", "/v1/x", {"n": 1}))
    letter = DeadLetter("solo.only.batch", 0, 7, "solo.only", Reason.POISON, "", "", b"k", value)
    written = encode_dead_letter(letter)
    begun = encode_mark(Mark(letter.id, dead_letter_mark.Deed.SENDING, 1, letter.topic))
    for role, record in ((Role.WORKER, written), (Role.REPLAYER, begun)):
        outbox = Outbox(guarded.by(role))
        await outbox.start()
        await outbox.send("solo.dead-letters", key=record.key, value=record.value, headers=record.headers)
        await outbox.close()
    replaying = await run(guarded, Role.REPLAYER, tmp_path, "dlq", "replay", "--pipeline", "solo", "--reason", "poison")
    said, problem = await replaying.communicate()
    assert (replaying.returncode, b"1 replayed" in said) == (0, True), said + problem
    looking = await run(guarded, Role.OPERATOR, tmp_path, "dlq", "list", "--all", "--pipeline", "solo")
    assert b"replayed" in (await looking.communicate())[0]


async def test_an_operator_keeps_the_evidence_of_a_drill_says_a_route_and_forces_a_breaker(
    guarded: Guarded, tmp_path: Path
):
    (tmp_path / "topics.yaml").write_text(CATALOGUE_TEXT)
    outbox = Outbox(guarded.by(Role.OPERATOR))
    await outbox.start()
    book = KafkaBook(guarded.by(Role.OPERATOR), "solo", outbox=outbox)
    await book.write(
        Run("1", Kind.DRILL, "eu-us", "0" * 64, "only/echo", "eu", "us", (), 1.0, epoch=1, session="s", by="ada")
    )
    await book.say(Route("only/echo", "eu", "us", 0.1, 1))
    await outbox.close()
    looking = await run(guarded, Role.OPERATOR, tmp_path, "failover", "status", "--pipeline", "solo")
    shown, problem = await looking.communicate()
    assert (looking.returncode, b"drill of eu-us by ada" in shown) == (0, True), shown + problem
    assert b"10% in us, the rest in eu" in shown
    word = ("only/echo", "open", "--why", "a drill", "--until", "5m", "--pipeline", "solo")
    forcing = await run(guarded, Role.OPERATOR, tmp_path, "breakers", "force", *word)
    _, problem = await forcing.communicate()
    assert forcing.returncode == 0, problem
    listing = await run(guarded, Role.OPERATOR, tmp_path, "breakers", "--pipeline", "solo")
    assert b"forced open until" in (await listing.communicate())[0]


async def test_an_operator_can_plan_and_apply_with_the_rights_of_his_role(guarded: Guarded):
    assert (await admin.plan(guarded.by(Role.OPERATOR), CATALOGUE)).is_in_step
    assert (await admin.apply(guarded.by(Role.OPERATOR), CATALOGUE)).remaining.is_in_step


async def test_who_brings_a_certificate_has_the_rights_of_its_name_and_no_others(guarded: Guarded):
    by_certificate = speaking(guarded.servers, guarded.authority, "TLS", user=("", ""))
    await read(by_certificate, "shop.results")
    with pytest.raises(DENIED):
        await write(by_certificate, "shop.results")


async def test_who_has_no_rights_is_told_at_the_start_which_and_how_to_get_them(guarded: Guarded):
    reader, outbox = ResultReader(guarded.by(STRANGER), "shop.results"), Outbox(guarded.by(STRANGER))
    async with asyncio.timeout(SECONDS):
        with pytest.raises(EnvironmentFailure, match=r"does not allow .*shop\.results.*`failsoft topics acls`"):
            await reader.start()
        with pytest.raises(EnvironmentFailure, match=r"does not allow .*`failsoft topics acls`"):
            await outbox.start()
    await outbox.close()
