import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from failsoft.kafka.connection import Connection
from failsoft.kafka.probe import cluster_answers
from failsoft.policy.errors import EnvironmentFailure
from failsoft.testing import EmbeddedKafka
from failsoft.testing.archive import ClassArchive
from failsoft.testing.installation import installed_kafka

pytestmark = pytest.mark.kafka

PARENT = """
import sys
from failsoft.testing import EmbeddedKafka
kafka = EmbeddedKafka()
kafka.start()
print(kafka.pid, kafka.bootstrap_servers, flush=True)
sys.stdin.read()
"""


async def test_it_starts_inside_a_running_loop_answers_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kafka = EmbeddedKafka()
    kafka.start()
    assert await cluster_answers(Connection(kafka.bootstrap_servers), 10)
    pid = kafka.pid
    assert pid
    assert len(list(tmp_path.iterdir())) == 1
    kafka.stop()
    kafka.stop()
    assert kafka.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert list(tmp_path.iterdir()) == []


async def test_acknowledged_records_and_the_address_survive_a_crash(tmp_path):
    with EmbeddedKafka(data_dir=tmp_path) as kafka:
        address = kafka.bootstrap_servers
        await create_topic(address)
        async with AIOKafkaProducer(bootstrap_servers=address) as producer:
            await producer.send_and_wait("words", b"still here")
        kafka.kill()
        assert kafka.pid is None
        kafka.restart()
        assert kafka.bootstrap_servers == address
        async with AIOKafkaConsumer("words", bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
            assert (await consumer.getone()).value == b"still here"
    assert (tmp_path / "log" / "words-0").is_dir()


async def create_topic(address: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic("words", num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


def test_two_run_side_by_side_but_not_on_one_folder(tmp_path):
    with EmbeddedKafka(data_dir=tmp_path / "one") as one, EmbeddedKafka() as two:
        assert one.bootstrap_servers != two.bootstrap_servers
        with pytest.raises(EnvironmentFailure, match="another Kafka uses the data folder"):
            EmbeddedKafka(data_dir=tmp_path / "one").start()
        assert one.pid


def test_a_taken_port_is_explained():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentFailure, match="port is taken"), EmbeddedKafka(port=port):
            pass


def test_a_broker_that_cannot_start_is_told_by_its_last_words():
    kafka = EmbeddedKafka(properties={"num.io.threads": "many"})
    with pytest.raises(EnvironmentFailure, match=r"(?s)exit code 1.*num\.io\.threads"), kafka:
        pass
    assert kafka.pid is None


def test_a_broker_that_dies_later_is_noticed():
    with EmbeddedKafka() as kafka:
        kafka.require_running()
        assert kafka.pid
        os.kill(kafka.pid, signal.SIGKILL)
        assert kafka._process
        kafka._process._guard.wait(10)
        with pytest.raises(EnvironmentFailure, match="exit code 137"):
            kafka.require_running()


def test_a_folder_that_cannot_be_used_is_explained(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(EnvironmentFailure, match=r"data folder .*file"):
        EmbeddedKafka(data_dir=in_the_way).start()


def test_a_class_archive_is_recorded_used_and_does_no_harm_when_damaged(tmp_path, monkeypatch):
    archive = cache_without_archive(tmp_path, monkeypatch)
    with EmbeddedKafka(records_classes=True):
        assert archive.find() is None
    recorded = archive.find()
    assert recorded
    with EmbeddedKafka(records_classes=True):
        assert archive.find() == recorded
    recorded.write_bytes(recorded.read_bytes()[:100_000])
    with EmbeddedKafka():
        assert archive.find() is None


def cache_without_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClassArchive:
    """A cache folder of the test's own, with the jars and the template of the real one."""
    real = installed_kafka()
    home = tmp_path / "cache" / real.template.parent.name
    home.mkdir(parents=True)
    (home / "jars").symlink_to(real.jars[0].parent)
    (home / "template").symlink_to(real.template)
    monkeypatch.setenv("FAILSOFT_CACHE", str(tmp_path / "cache"))
    return installed_kafka().archive


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="watching a process that is not a child needs Linux")
def test_a_killed_parent_leaves_no_broker_behind(tmp_path: Path):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert parent.stdin
    assert parent.stdout
    with parent.stdin, parent.stdout:
        broker = os.pidfd_open(int(parent.stdout.readline().split()[0]))
        parent.kill()
        parent.wait()
    try:
        assert select.select([broker], [], [], 15)[0], "the broker is still running"
    finally:
        os.close(broker)
