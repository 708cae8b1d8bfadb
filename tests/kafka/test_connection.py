import pytest

from failsoft.kafka.connection import BOOTSTRAP_VARIABLE, Connection
from failsoft.policy.errors import ConfigurationError


def test_the_command_line_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv(BOOTSTRAP_VARIABLE, "elsewhere:9092")
    assert Connection.from_environment("here:9092") == Connection("here:9092")
    assert Connection.from_environment(None) == Connection("elsewhere:9092")


def test_with_no_broker_named_the_error_says_how_to_name_one(monkeypatch):
    monkeypatch.delenv(BOOTSTRAP_VARIABLE, raising=False)
    with pytest.raises(ConfigurationError, match=r"--bootstrap HOST:PORT or set KAFKA_BOOTSTRAP_SERVERS"):
        Connection.from_environment()


@pytest.mark.parametrize("servers", ["a:1", "a:9092,b:9092", "a:9092, b:9092", "127.0.0.1:9092", "[::1]:9092"])
def test_host_and_port_are_accepted(servers):
    assert Connection(servers).client_options()["bootstrap_servers"] == servers


@pytest.mark.parametrize(
    "servers", ["", "broker", "broker:", ":9092", "broker:port", "a:9092,,b:9092", "http://a:9092"]
)
def test_what_is_not_host_and_port_is_refused(servers):
    with pytest.raises(ConfigurationError, match=r"bootstrap servers: .* is not host:port"):
        Connection(servers)


def test_all_clients_of_a_process_wait_the_same_jittered_time_before_they_connect_again():
    waits = {Connection(f"b:{port}").client_options()["retry_backoff_ms"] for port in (1, 2)}
    assert len(waits) == 1
    assert 250 <= waits.pop() <= 750
