"""Faust's settings: those under which it was measured to keep what it reads (research/faust.md), and the way to the cluster.

No tables (their changelogs took 36 s of recovery and counted some records twice), no web server (it listens on all interfaces),
no topics of its own (topics.yaml has them all), and an error ends the process instead of an agent in a process that goes on.
"""

from typing import Any
from urllib.parse import quote

import faust
from faust.types.auth import CredentialsT

from failsoft.kafka import Connection

SESSION_SECONDS = 6.0
"""As of workers: after how long the group gives a member up that has died. Faust's own 60 s would be an hour's worth of kills."""


def new_app(name: str, connection: Connection, *, folder: str) -> faust.App:
    """Make a Faust app that keeps nothing but what it is told.

    Args:
        name: of its group.
        connection: the cluster.
        folder: where Faust makes the folders that it wants to have; they stay empty.
    """
    options: dict[str, Any] = {
        "broker": _urls(connection),
        "broker_credentials": _credentials(connection),
        "broker_client_id": "failsoft",
        "datadir": folder,
        "store": "memory://",
        "web_enabled": False,
        "topic_disable_leader": True,
        "topic_allow_declare": False,
        "table_standby_replicas": 0,  # 1 would bring Faust's own assignor
        "consumer_auto_offset_reset": "earliest",
        "broker_commit_interval": 1.0,
        "broker_session_timeout": SESSION_SECONDS,
        "broker_heartbeat_interval": 2.0,
        "broker_rebalance_timeout": 20.0,
        "broker_request_timeout": 35.0,
        "stream_wait_empty": False,  # an event is held until what it has changed is published, which may wait for a broker
        "stream_processing_timeout": 300.0,
        "producer_acks": -1,
        "worker_redirect_stdouts": False,
        "agent_supervisor": "mode.supervisors.CrashingSupervisor",  # the default gives up an agent in silence
    }
    return faust.App(name, **options)


def _urls(connection: Connection) -> str:
    return ";".join(
        f"kafka://{quote(server.strip(), safe='[]:.-')}" for server in connection.bootstrap_servers.split(",")
    )


def _credentials(connection: Connection) -> CredentialsT | None:
    """TLS and SASL as Faust names them, from what every client of ours is given."""
    options = connection.client_options()
    context = options.get("ssl_context")
    if "sasl_mechanism" in options:
        return faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)
