import os
import re
import subprocess
import sys

import pytest

from failsoft.cli.exits import Exit
from failsoft.kafka.connection import Connection
from failsoft.kafka.reach import reach
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure
from failsoft.testing.cluster import a_broker


@pytest.mark.parametrize("broker", ["", "docker", "nonsense"])
def test_a_broker_that_is_named_goes_before_any_that_could_be_started(broker):
    named = {"KAFKA_BOOTSTRAP_SERVERS": "localhost:1", "FAILSOFT_BROKER": broker}
    with a_broker(environment=named) as connection:
        assert connection == Connection("localhost:1")
    with a_broker("localhost:2", environment=named) as connection:
        assert connection == Connection("localhost:2")


def test_a_kind_of_broker_that_is_not_known_is_refused_by_name():
    with pytest.raises(ConfigurationError, match=r"FAILSOFT_BROKER: 'podman' is not known; it is embedded or docker"):
        a_broker(environment={"FAILSOFT_BROKER": "podman"}).__enter__()


def test_docker_without_testcontainers_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "testcontainers.core.container", None)
    with pytest.raises(EnvironmentFailure, match=r"FAILSOFT_BROKER=docker needs testcontainers: pip install"):
        a_broker(environment={"FAILSOFT_BROKER": "docker"}).__enter__()


@pytest.mark.acceptance
def test_a_demo_on_docker_where_there_is_none_ends_with_the_fix(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "FAILSOFT_"))}
    environment |= {"FAILSOFT_BROKER": "docker", "DOCKER_HOST": f"unix://{tmp_path}/no-engine.sock"}
    command = [sys.executable, "-m", "failsoft", "demo"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == Exit.ENVIRONMENT
    assert re.match(r"failsoft: FAILSOFT_BROKER=docker.*or unset FAILSOFT_BROKER\n", told.stderr)


@pytest.mark.kafka
async def test_what_it_holds_can_be_spoken_to(kafka_bootstrap):
    with a_broker(kafka_bootstrap) as connection:
        assert (await reach(connection)).brokers == 1
