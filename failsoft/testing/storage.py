"""The settings and the data folder of a single-node Kafka: broker and controller in one process (KRaft).

Lean on purpose: one thread where the default is three to eight, a small cleaner, internal topics of one partition.
That halves memory (354 to 156 MB) and start-up CPU (7.2 to 4.2 s), measured on Kafka 4.4 with Java 17.

A new data folder must be formatted, which costs a JVM of its own (1 to 3 s). The result is two small files, so it is
made once, kept in the cache, and copied.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from failsoft.policy.errors import ConfigurationError

_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    # With `format --standalone` and no voters the quorum knows itself, so this port may be 0 too: nothing to race for.
    "controller.quorum.bootstrap.servers": "127.0.0.1:0",
}

LEAN = {
    "num.network.threads": "1",
    "num.io.threads": "2",
    "num.replica.fetchers": "1",
    "num.recovery.threads.per.data.dir": "1",
    "background.threads": "2",
    "log.cleaner.threads": "1",
    "log.cleaner.dedupe.buffer.size": str(2 << 20),
    "log.cleaner.io.buffer.size": str(64 << 10),
    "log.index.size.max.bytes": str(1 << 20),
    "group.coordinator.threads": "1",
    "share.coordinator.threads": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "metadata.max.idle.interval.ms": "5000",
}

_ALONE = {
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}

QUICK = {
    "group.initial.rebalance.delay.ms": "0",  # the default waits 3 s for more members
    "group.min.session.timeout.ms": "1000",  # tests of crashed workers need not wait out the default 6 s
    "broker.session.timeout.ms": "3000",  # a killed broker may return after this: 12.8 s at the default, 4.8 s here
    "broker.heartbeat.interval.ms": "1000",
    "auto.create.topics.enable": "false",  # a misspelt topic is an error, not a topic
}

_OURS = {*_NODE, "listeners", "advertised.listeners", "log.dirs", "log.dir", "controller.quorum.voters"}

LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.stdout.ref = STDOUT
appender.stdout.type = Console
appender.stdout.name = STDOUT
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d{ISO8601} %p %m (%c)%n
# 1,400 lines of settings at each start
logger.config.name = org.apache.kafka.common.config.AbstractConfig
logger.config.level = WARN
"""


def server_properties(folder: Path, *, port: int, own: Mapping[str, str]) -> str:
    """Render `server.properties` for a data folder; port 0 lets the kernel choose a free one.

    Raises:
        ConfigurationError: `own` sets what this launcher decides.
    """
    if taken := sorted(_OURS & own.keys()):
        raise ConfigurationError(
            f"Kafka properties: {', '.join(taken)}: the launcher sets these; use port= and data_dir="
        )
    settings = {
        **_NODE,
        **LEAN,
        **_ALONE,
        **QUICK,
        **own,
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:0",
        "log.dirs": str(folder / "log"),
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def write_settings(folder: Path, *, port: int, own: Mapping[str, str]) -> None:
    """Write `server.properties` and the logging settings into a data folder."""
    write_properties(folder, server_properties(folder, port=port, own=own))


def write_properties(folder: Path, properties: str) -> None:
    """Write these broker settings, and the logging settings that all brokers share, into a data folder."""
    (folder / "server.properties").write_text(properties, "utf-8")
    (folder / "log4j2.properties").write_text(LOGGING, "utf-8")


def fill_from_template(folder: Path, template: Path) -> None:
    """Give a new data folder its formatted log directory; one that was used before keeps its own."""
    if not (folder / "log" / "meta.properties").exists():
        shutil.copytree(template / "log", folder / "log", dirs_exist_ok=True)
