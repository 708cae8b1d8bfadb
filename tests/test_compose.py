"""docker-compose.yml against the code: what can be told without a container engine."""

from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from failsoft.cli import app
from failsoft.cli.streams import StreamsApp
from failsoft.kafka.connection import Connection
from failsoft.testing.container import IMAGE, SETTINGS

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
UI_SETTINGS = {"KAFKA_CLUSTERS_0_NAME", "KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS", "KAFKA_CLUSTERS_0_READONLY"}


def parse(arguments: list[str]) -> None:
    """What the command line would do with them, up to running; an unknown verb, option or value is an error."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "resolve_command"):
        context = command.make_context("failsoft", list(arguments))
        _, command, arguments = command.resolve_command(context, arguments)
    command.make_context("failsoft", list(arguments))


def test_there_are_the_services_that_a_trial_needs_and_what_one_looks_at_them_with_only_on_request():
    on_request = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert SERVICES.keys() - on_request.keys() == {
        *("broker", "topics", "model-server", "worker"),
        *("latency", "degradation"),
    }
    assert on_request == {"ui": ["ui"], "prometheus": ["observability"], "grafana": ["observability"]}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_an_image_of_a_fixed_version_or_ours(name):
    service = SERVICES[name]
    if name in OURS:
        assert (ROOT / service["build"] / "Dockerfile").is_file()
    else:
        _, _, tag = service["image"].rpartition(":")
        assert tag[-1].isdigit(), "an image without a version is another one tomorrow"


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_exists_and_can_come_true(name):
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        assert wait["condition"] in CONDITIONS
        if wait["condition"] == "service_healthy":
            has_own = "test" in SERVICES[other].get("healthcheck", {})
            assert has_own or (other in OURS and "\nHEALTHCHECK " in DOCKERFILE)
        if wait["condition"] == "service_completed_successfully":
            assert "restart" not in SERVICES[other], "what is started again never completes"


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_published_beyond_this_machine(name):
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")
    assert SERVICES[name].get("network_mode") is None


@pytest.mark.parametrize("name", OURS)
def test_a_command_is_one_of_ours_with_options_that_exist(name):
    parse(OURS[name]["command"])


@pytest.mark.parametrize(
    "wrong", [["topics", "aply"], ["worker"], ["model-server", "--prot", "1"], ["model-server", "--port", "x"]]
)
def test_a_command_that_does_not_exist_would_have_been_noticed(wrong):
    with pytest.raises(Exception, match=r"No such|Missing|valid integer"):
        parse(wrong)


@pytest.mark.parametrize("name", [name for name, service in OURS.items() if "environment" in service])
def test_our_settings_are_known_and_reach_the_broker_at_an_address_that_it_tells(name):
    connection = Connection.from_environment(environment=OURS[name]["environment"])
    advertised = SERVICES["broker"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"INSIDE://{connection.bootstrap_servers}" in advertised.split(",")


def test_the_broker_is_the_one_of_the_tests_but_keeps_its_records():
    broker = SERVICES["broker"]
    own = {"KAFKA_ADVERTISED_LISTENERS", "KAFKA_LOG_DIRS"}
    settings = {name: value for name, value in broker["environment"].items() if name not in own}
    assert settings == {name: value for name, value in SETTINGS.items() if name not in own}
    assert broker["image"] == IMAGE
    [volume] = broker["volumes"]
    assert volume == f"records:{broker['environment']['KAFKA_LOG_DIRS']}"
    assert "records" in COMPOSE["volumes"]


def test_the_browser_knows_the_brokers_address_and_no_unknown_setting():
    environment = SERVICES["ui"]["environment"]
    assert environment.keys() == UI_SETTINGS
    assert environment["KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS"] == "broker:19092"


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_mounts_is_there(name):
    for volume in SERVICES[name].get("volumes", []):
        source, _, _ = volume.partition(":")
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


def test_prometheus_asks_services_where_they_answer_and_reads_rules_that_it_mounts():
    [mounted] = [each for each in SERVICES["prometheus"]["volumes"] if each.startswith(".")]
    source, target, mode = mounted.split(":")
    assert (target, mode) == ("/etc/prometheus", "ro")
    settings = yaml.safe_load((ROOT / source / "prometheus.yml").read_text())
    assert all((ROOT / source / file).exists() for file in settings["rule_files"])
    jobs = {job["job_name"]: job["dns_sd_configs"] for job in settings["scrape_configs"]}
    assert [found["names"] for found in jobs["failsoft"]] == [["worker"]]
    for found in (each for configured in jobs.values() for each in configured):
        for name in found["names"]:
            command = SERVICES[name]["command"]
            assert command[command.index("--port") + 1] == str(found["port"])


def test_the_board_asks_the_prometheus_of_this_file_and_lies_where_its_provider_looks():
    provisioning, boards = (each.split(":")[0] for each in SERVICES["grafana"]["volumes"])
    [source] = yaml.safe_load((ROOT / provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((ROOT / provisioning / "dashboards/failsoft.yml").read_text())["providers"]
    assert f"{boards}:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]
    assert (ROOT / boards / "failsoft.json").exists()


def test_nobody_is_asked_for_a_password_and_nobody_may_change_the_board():
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert not [name for name in environment if "PASSWORD" in name]


def test_the_worker_has_the_time_that_draining_takes():
    assert SERVICES["worker"]["stop_grace_period"] == "30s"


def test_each_app_of_streams_is_run_and_started_again_when_it_ends():
    run = {service["command"][1]: service for service in OURS.values() if service["command"][0] == "streams"}
    assert run.keys() == set(StreamsApp)
    assert {service["restart"] for service in run.values()} == {"unless-stopped"}


def test_the_image_is_built_from_locked_versions_runs_as_nobody_special_and_finds_what_it_copies():
    assert "--require-hashes -r requirements/dev.lock" in DOCKERFILE
    lines = DOCKERFILE.splitlines()
    assert lines.index("USER failsoft") < lines.index('ENTRYPOINT ["failsoft"]')
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for path in (each for group in copied for each in group):
        assert (ROOT / path).exists()
        assert path in allowed
    [command] = [line for line in lines if line.startswith("CMD ")]
    parse(yaml.safe_load(command.removeprefix("CMD ")))
