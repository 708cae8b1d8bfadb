"""deploy/observability against the code: a rule that names what is not there is silent for ever, and looks like health."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from failsoft.policy.answers import AnswersConfig
from failsoft.policy.settings import LaterStage, StageSettings, TierSettings
from failsoft.policy.stage import GateName, StageMachine
from failsoft.runtime.metrics import Metrics
from tests.policy.driver import APOLOGY, CLASSES, SMALL

ROOT = Path(__file__).parents[2]
HERE = ROOT / "deploy" / "observability"
CATALOGUE = (ROOT / "docs" / "metrics.md").read_text()
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((HERE / "rules.yml").read_text())["groups"] for rule in group["rules"]
]
BOARD: dict[str, Any] = json.loads((HERE / "grafana" / "dashboards" / "failsoft.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in BOARD["panels"] if panel["type"] != "row"]

OF_PROMETHEUS = {"job", "instance"}
"""Labels that it adds to every series."""
SELECTOR = re.compile(r"\b(failsoft_\w+|up|ALERTS)\b(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!=|=)\s*"([^"]*)"')


def exposed() -> dict[str, dict[str, set[str]]]:
    """Every series that a worker shows before anything has happened: name -> label -> its values."""
    large = TierSettings("large", 1, limit=4, expected_seconds=0.2, target_seconds=1.0)
    cached = TierSettings("cached", 3, limit=None, is_cached=True)
    settings = StageSettings(
        "answer",
        (large, SMALL, cached, APOLOGY),
        CLASSES,
        answers=AnswersConfig(),
        parts=("documents",),
        later=(LaterStage("check"),),
    )
    metrics = Metrics()
    metrics.declare(settings, StageMachine(settings))
    found: dict[str, dict[str, set[str]]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            if sample.name.endswith("_created"):
                continue
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


EXPOSED = exposed()
EXPRESSIONS = [
    *((rule["alert"], rule["expr"]) for rule in RULES),
    *((panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]),
]


def problems(expression: str) -> Iterator[str]:
    """What in a query is not there."""
    known = set(OF_PROMETHEUS)
    names = [(name, matchers) for name, matchers in SELECTOR.findall(expression) if name not in {"up", "ALERTS"}]
    if not names and "up" not in expression:
        yield "no metric of ours"
    for name, matchers in names:
        if name not in EXPOSED:
            yield f"no metric {name}"
            continue
        labels = EXPOSED[name]
        known |= labels.keys()
        for label, operator, written in MATCHER.findall(matchers):
            values = set() if "$" in written else set(written.split("|") if operator == "=~" else [written])
            if label not in labels.keys() | OF_PROMETHEUS:
                yield f"{name} has no label {label}"
            elif missing := values - labels.get(label, values):
                yield f"{name} has no {label} {missing}"
    for group in re.findall(r"\bby \(([^)]*)\)", expression):
        if missing := {label.strip() for label in group.split(",")} - known:
            yield f"nothing to group by {missing}"


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_a_rule_or_panel_names_metrics_labels_and_values_that_a_worker_shows(where, expression):
    assert not list(problems(expression)), where


SERIES = [
    each["series"]
    for test in yaml.safe_load((HERE / "rules_test.yml").read_text())["tests"]
    for each in test["input_series"]
]


@pytest.mark.parametrize("series", sorted(set(SERIES)))
def test_a_rule_is_tested_with_series_that_a_worker_shows(series):
    assert not list(problems(series))


@pytest.mark.parametrize(
    "wrong",
    [
        "rate(failsoft_request_total[5m])",
        'rate(failsoft_requests_total{outcome="okay"}[5m])',
        'failsoft_breaker_state{state=~"open|halfopen"}',
        'failsoft_permits{class="batch"}',
        "sum by (class) (failsoft_permits)",
        "node_load1",
    ],
)
def test_a_name_that_does_not_exist_would_have_been_noticed(wrong):
    assert list(problems(wrong))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_what_a_legend_shows_is_a_label_of_its_query(panel):
    for target in panel["targets"]:
        wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        grouped = {
            label.strip() for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in group.split(",")
        }
        assert wanted <= grouped, target["expr"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_and_where_to_look_and_how_urgent_it_is(rule):
    assert rule["labels"]["severity"] in {"page", "warn"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
    shown = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in group.split(",")}
    assert shown <= grouped


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_is_on_the_page_and_has_a_test_in_which_it_fires(rule):
    assert f"`{rule['alert']}`" in CATALOGUE
    tests = yaml.safe_load((HERE / "rules_test.yml").read_text())["tests"]
    fired = [
        each
        for test in tests
        for each in test.get("alert_rule_test", [])
        if each["alertname"] == rule["alert"] and each.get("exp_alerts")
    ]
    samples = [
        sample
        for test in tests
        for each in test.get("promql_expr_test", [])
        for sample in each.get("exp_samples", [])
        if f'alertname="{rule["alert"]}"' in sample["labels"]
    ]
    assert fired or samples


def families() -> list[str]:
    return sorted({re.sub(r"_(bucket|count|sum)$", "", name) for name in EXPOSED})


@pytest.mark.parametrize("name", families())
def test_every_metric_is_on_the_page(name):
    assert f"`{name}`" in CATALOGUE or f"`{name}{{" in CATALOGUE


@pytest.mark.parametrize("gate", GateName)
def test_every_gate_is_on_the_page(gate):
    assert f"`{gate.value}`" in CATALOGUE


def test_the_page_names_no_metric_and_no_alert_that_is_not_there():
    assert set(re.findall(r"`(failsoft_\w+)", CATALOGUE)) <= set(families())
    assert set(re.findall(r"`(Failsoft\w+)`", CATALOGUE)) == {rule["alert"] for rule in RULES}


def test_the_board_has_a_fixed_uid_and_asks_the_provisioned_source():
    [source] = yaml.safe_load((HERE / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert BOARD["uid"] == "failsoft"
    asked = re.findall(r'"uid": "([^"]+)"', json.dumps(BOARD))
    assert set(asked) == {"failsoft", source["uid"]}
    numbers = [panel["id"] for panel in BOARD["panels"]]
    assert len(numbers) == len(set(numbers))


def test_panels_do_not_lie_on_each_other():
    taken = [
        (x, y)
        for panel in BOARD["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


@pytest.fixture(scope="module")
def promtool() -> str:
    found = os.environ.get("FAILSOFT_PROMTOOL") or shutil.which("promtool")
    if found is None:
        pytest.skip(
            "promtool is not here (PATH, or FAILSOFT_PROMTOOL): the alert rules are not run against their tests"
        )
    return found


@pytest.mark.parametrize(
    "arguments",
    [["check", "config", "prometheus.yml"], ["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]],
)
def test_promtool_finds_nothing_wrong(promtool, arguments):
    done = subprocess.run([promtool, *arguments], cwd=HERE, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_a_threshold_that_was_changed(promtool, tmp_path):
    shutil.copytree(HERE, tmp_path, dirs_exist_ok=True)
    rules = tmp_path / "rules.yml"
    rules.write_text(rules.read_text().replace("> 0.01", "> 0.03"))
    assert rules.read_text() != (HERE / "rules.yml").read_text()
    done = subprocess.run(
        [promtool, "test", "rules", "rules_test.yml"], cwd=tmp_path, capture_output=True, check=False, timeout=60
    )
    assert done.returncode != 0
