import re

import pytest

from failsoft.kafka.connection import Connection, names_a_broker
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure
from tests.kafka.authority import Authority

TRUSTED = {"FAILSOFT_KAFKA_ALLOW_INSECURE": "true"}
SASL = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "FAILSOFT_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "FAILSOFT_KAFKA_USERNAME": "alice",
    "FAILSOFT_KAFKA_PASSWORD": "hunter2",
}


def read(environment: dict[str, str], bootstrap: str | None = None) -> Connection:
    return Connection.from_environment(bootstrap, environment=environment)


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path):
    file = tmp_path / "kafka.yaml"
    file.write_text("bootstrap_servers: localhost:1\nallow_insecure: true\n")
    named = {"FAILSOFT_KAFKA_CONFIG": str(file)}
    said = named | {"KAFKA_BOOTSTRAP_SERVERS": "elsewhere:2"}
    assert read(named) == Connection("localhost:1", allow_insecure=True)
    assert read(said) == Connection("elsewhere:2", allow_insecure=True)
    assert read(said, "here:3") == Connection("here:3", allow_insecure=True)


def test_with_no_broker_named_the_error_says_how_to_name_one():
    with pytest.raises(ConfigurationError, match=r"--bootstrap HOST:PORT or set KAFKA_BOOTSTRAP_SERVERS"):
        read({})


def test_whether_a_broker_is_named_can_be_asked_before_one_is_started(tmp_path):
    file = tmp_path / "kafka.yaml"
    file.write_text("bootstrap_servers: localhost:1\n")
    assert names_a_broker({"FAILSOFT_KAFKA_CONFIG": str(file)})
    assert names_a_broker({"KAFKA_BOOTSTRAP_SERVERS": "localhost:1"})
    assert not names_a_broker({"KAFKA_BOOTSTRAP_SERVERS": ""})


@pytest.mark.parametrize("servers", ["a:1", "a:9092,b:9092", "a:9092, b:9092", "127.0.0.1:9092", "[::1]:9092"])
def test_host_and_port_are_accepted(servers):
    assert Connection(servers, allow_insecure=True).client_options()["bootstrap_servers"] == servers


@pytest.mark.parametrize(
    "servers", ["", "broker", "broker:", ":9092", "broker:port", "a:9092,,b:9092", "http://a:9092"]
)
def test_what_is_not_host_and_port_is_refused(servers):
    with pytest.raises(ConfigurationError, match=r"bootstrap_servers: .* is not host:port"):
        Connection(servers, allow_insecure=True)


@pytest.mark.parametrize("servers", ["localhost:1", "127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "localhost:1,[::1]:2"])
def test_a_broker_of_this_machine_may_be_spoken_to_in_the_clear(servers):
    assert Connection(servers).client_options()["security_protocol"] == "PLAINTEXT"


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
@pytest.mark.parametrize(
    "servers", ["broker:1", "10.0.0.1:1", "[fe80::1]:1", "localhost:1,broker:2", "localhost.evil:1"]
)
def test_another_machine_is_not_unless_somebody_has_said_so(servers, protocol):
    environment = SASL if protocol == "SASL_PLAINTEXT" else {}
    with pytest.raises(
        ConfigurationError, match=r"^FAILSOFT_KAFKA_SECURITY_PROTOCOL: .*SASL_SSL.*ALLOW_INSECURE to true"
    ):
        read(environment, servers)
    assert read(environment | TRUSTED, servers).allow_insecure


def test_all_clients_of_a_process_wait_the_same_jittered_time_before_they_connect_again():
    waits = {Connection(f"localhost:{port}").client_options()["retry_backoff_ms"] for port in (1, 2)}
    assert len(waits) == 1
    assert 250 <= waits.pop() <= 750


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"SECURITY_PROTOCOL": "TLS"}, r"SECURITY_PROTOCOL: 'TLS' is not known; it is one of PLAINTEXT, SSL, SASL_SSL"),
        ({"SASL_MECHANISM": "GSSAPI"}, r"SASL_MECHANISM: 'GSSAPI' is not known; it is one of SCRAM-SHA-512"),
        (
            {"SECURITY_PROTOCOL": "PLAINTEXT"},
            r"USERNAME: has no effect with PLAINTEXT; set security_protocol to SASL_SSL",
        ),
        ({"CA_FILE": "ca.pem"}, r"CA_FILE: has no effect with SASL_PLAINTEXT; set security_protocol to SSL"),
        ({"USERNAME": ""}, r"USERNAME: SASL_PLAINTEXT needs one, and there is none"),
        ({"PASSWORD": ""}, r"PASSWORD: SASL_PLAINTEXT needs one, and there is none"),
        ({"PASSWORD_FILE": "/nowhere/password"}, r"PASSWORD_FILE: there is a password as well; say it in one place"),
        ({"PASSWORD": "", "PASSWORD_FILE": "/nowhere/it"}, r"PASSWORD_FILE: /nowhere/it: No such file or directory"),
        (
            {"SECURITY_PROTOCOL": "SASL_SSL", "CA_FILE": "/nowhere/ca"},
            r"CA_FILE: /nowhere/ca: No such file or directory",
        ),
        (
            {"SECURITY_PROTOCOL": "SASL_SSL", "KEY_FILE": "key.pem"},
            r"CERT_FILE: there is a key_file without its certificate",
        ),
        ({"ALLOW_INSECURE": "maybe"}, r"ALLOW_INSECURE: 'maybe' is not true or false"),
        (
            {"SASL_MECANISM": "PLAIN"},
            r"SASL_MECANISM: no such setting; the variables are FAILSOFT_KAFKA_ALLOW_INSECURE, ",
        ),
        ({"CONFIG": "/nowhere/kafka.yaml"}, r"CONFIG: /nowhere/kafka.yaml: No such file or directory"),
    ],
)
def test_a_mistake_in_the_environment_is_told_by_the_name_of_its_variable(changes, error):
    environment = SASL | {f"FAILSOFT_KAFKA_{name}": value for name, value in changes.items()}
    with pytest.raises(ConfigurationError, match=f"^FAILSOFT_KAFKA_{error}"):
        read(environment)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("bootstrap_servers: broker", r":1: bootstrap_servers: 'broker' is not host:port"),
        ("bootstrap_servers: a:1\nsecurity_protocol: TLS", r":2: security_protocol: 'TLS' is not known"),
        ("bootstrap_servers: a:1\nca: ca.pem", r":2: ca: no such field; the fields are bootstrap_servers, "),
        ("bootstrap_servers: 9092", r":1: bootstrap_servers: should be text; put it in quotes"),
        ("bootstrap_servers: localhost:1\nallow_insecure: maybe", r":2: allow_insecure: should be true or false"),
        ("bootstrap_servers: a:1\nbootstrap_servers: b:1", r":2: bootstrap_servers is there twice"),
        ("bootstrap_servers: a:1\nsecurity_protocol: SSL\nca_file: ca.pem", r":3: ca_file: .*ca.pem: No such file"),
        ("- a:1", r":1: it says no fields; write bootstrap_servers: HOST:PORT"),
        ("{", r":1: "),
    ],
)
def test_a_mistake_in_the_file_is_told_by_its_line_and_field(tmp_path, text, error):
    file = tmp_path / "kafka.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=re.escape(str(file)) + error):
        read({"FAILSOFT_KAFKA_CONFIG": str(file)})


def test_a_file_says_all_that_the_environment_can_and_its_paths_are_relative_to_it(tmp_path, monkeypatch):
    (tmp_path / "password").write_text("hunter2\n")
    file = tmp_path / "kafka.yaml"
    file.write_text(
        "bootstrap_servers: localhost:1\nsecurity_protocol: SASL_PLAINTEXT\nsasl_mechanism: SCRAM-SHA-256\n"
        "username: alice\npassword_file: password\n"
    )
    options = read({"FAILSOFT_KAFKA_CONFIG": str(file)}).client_options()
    assert options["sasl_mechanism"] == "SCRAM-SHA-256"
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("alice", "hunter2")
    other = read({"FAILSOFT_KAFKA_CONFIG": str(file), "FAILSOFT_KAFKA_PASSWORD": "o"}).client_options()
    assert other["sasl_plain_password"] != options["sasl_plain_password"]


def test_no_password_is_shown_by_what_holds_it_or_by_what_complains():
    assert "hunter2" not in repr(read(SASL))
    with pytest.raises(ConfigurationError) as told:
        read(SASL | {"FAILSOFT_KAFKA_PASSWORD_FILE": "/nowhere"})
    assert "hunter2" not in str(told.value)


def test_certificates_are_read_and_host_names_checked(authority: Authority):
    connection = read(
        {
            "KAFKA_BOOTSTRAP_SERVERS": "broker:9093",
            "FAILSOFT_KAFKA_SECURITY_PROTOCOL": "SSL",
            "FAILSOFT_KAFKA_CA_FILE": str(authority.ca),
            "FAILSOFT_KAFKA_CERT_FILE": str(authority.cert),
            "FAILSOFT_KAFKA_KEY_FILE": str(authority.key),
        }
    )
    context = connection.client_options()["ssl_context"]
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({"CA_FILE": "key"}, r"CA_FILE: .*: no certificate or crl found; it takes PEM"),
        (
            {"CERT_FILE": "cert", "KEY_FILE": "other_key"},
            r"KEY_FILE: .*: key values mismatch; it takes PEM, a key that fits",
        ),
        ({"CERT_FILE": "cert", "KEY_FILE": "locked_key"}, r"KEY_FILE: .*no passphrase"),
        ({"CERT_FILE": "cert"}, r"CERT_FILE: .*it takes PEM"),
    ],
)
def test_a_certificate_that_is_none_is_told_by_what_names_it(authority: Authority, files, error):
    environment = {f"FAILSOFT_KAFKA_{name}": str(getattr(authority, file)) for name, file in files.items()}
    with pytest.raises(ConfigurationError, match=f"^FAILSOFT_KAFKA_{error}"):
        read({"FAILSOFT_KAFKA_SECURITY_PROTOCOL": "SSL", **environment}, "broker:9093")


def test_a_certificate_that_went_away_later_is_the_machines_fault(authority: Authority, tmp_path):
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.ca.read_bytes())
    connection = read({"FAILSOFT_KAFKA_SECURITY_PROTOCOL": "SSL", "FAILSOFT_KAFKA_CA_FILE": str(ca)}, "broker:9093")
    ca.unlink()
    with pytest.raises(EnvironmentFailure, match=r"ca_file: .*No such file"):
        connection.client_options()
