from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft import BreakerSettings, CachedAnswer, Call, Constant, Output, Pipeline, RetryBudgetSettings
from failsoft.catalogue import Catalogue, parse
from failsoft.endpoints import CallableEndpoint
from failsoft.pipeline import Stage
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.settings import StageSettings
from failsoft.policy.widening import WideningConfig
from failsoft.runtime.configuration import Configured, configure, resize_endpoints
from failsoft.runtime.knobs import groups

CATALOGUE: Catalogue = parse(
    """
version: 1
defaults: {partitions: 3, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 5s,  deadline_max: 60s}
  batch:       {weight: 1, deadline: 24h, deadline_max: 72h}
pipelines: {shop: [find, answer-all], other: [work]}
topics:
  requests:     {config: {retention.ms: 7d, max.message.bytes: 1.25MiB}}
  results:      {config: {retention.ms: 7d, max.message.bytes: 4MiB}}
  dead-letters: {config: {retention.ms: 14d, max.message.bytes: 4MiB}}
""",
    source="topics.yaml",
)
TIER = "FAILSOFT_SHOP__ANSWER_ALL__LARGE__"
STAGE = "FAILSOFT_SHOP__ANSWER_ALL__"


async def answers(_: Call) -> Output:
    return Output({})


def a_stage(**said: Any) -> Stage:
    stage = Pipeline("shop").stage("answer-all", **said)
    stage.tier("large", limit=4, target="2s")(answers)
    stage.tier("known", CachedAnswer())
    stage.tier("sorry", Constant({}))
    return stage


def settle(environment: Mapping[str, str], **said: Any) -> Configured:
    (found,) = configure([a_stage(**said)], CATALOGUE, environment)
    return found


def origins(found: Configured) -> dict[tuple[str | None, str], str]:
    return {(line.tier or line.request_class, line.knob.name): line.origin for line in found.settings}


def test_without_variables_the_declaration_holds():
    stage = a_stage()
    (found,) = configure([stage], CATALOGUE, {"PATH": "/bin", "FAILSOFT_BROKER": "docker", "FAILSOFT_CACHE": "x"})
    assert found.policy == stage.settings(CATALOGUE)


@pytest.mark.parametrize(
    ("variable", "text", "read"),
    [
        (TIER + "LIMIT", "6", lambda s: s.tiers[0].limit == 6),
        (TIER + "EXPECT", "800ms", lambda s: s.tiers[0].expected_seconds == 0.8),
        (TIER + "TARGET", " 3s ", lambda s: s.tiers[0].target_seconds == 3.0),
        (TIER + "LIMIT_ENFORCE", "false", lambda s: s.tiers[0].limit_enforce is False),
        (STAGE + "BATCH__PATIENCE", "0.3", lambda s: s.by_class["batch"].patience == 0.3),
        (STAGE + "INTERACTIVE__FLOOR", "1", lambda s: s.by_class["interactive"].floor == 1),
        (STAGE + "BREAKER_FAILURE_RATE_THRESHOLD", ".25", lambda s: s.breakers.failure_rate_threshold == 0.25),
        (STAGE + "BREAKER_WAIT_DURATION_IN_OPEN", "2s", lambda s: s.breakers.wait_duration_in_open_seconds == 2),
        (STAGE + "BREAKER_ENFORCE", "no", lambda s: s.breakers.enforce is False),
        (STAGE + "RETRY_ENFORCE", "0", lambda s: s.retries.enforce is False),
        (STAGE + "WIDENING_ADOPT", "20m", lambda s: s.widening.adopt_seconds == 1200),
        (STAGE + "RECORDS_MAX", "500", lambda s: s.records_max == 500),
        (STAGE + "BYTES_MAX", "64MiB", lambda s: s.bytes_max == 64 * 2**20),
        (STAGE + "PUBLISH_MARGIN", "100ms", lambda s: s.publish_margin_seconds == 0.1),
    ],
)
def test_a_variable_overrides_its_setting_and_is_named_as_its_origin(variable, text, read):
    found = settle({variable: text})
    assert read(found.policy)
    assert [line.origin for line in found.settings].count(variable) == 1


def test_the_environment_goes_before_python_and_python_before_the_default():
    said = {"breakers": BreakerSettings(minimum_number_of_calls=7, good_calls_to_close=3)}
    found = settle({STAGE + "BREAKER_MINIMUM_NUMBER_OF_CALLS": "9"}, **said)
    assert found.policy.breakers == BreakerSettings(minimum_number_of_calls=9, good_calls_to_close=3)
    known = origins(found)
    assert known[None, "breaker_minimum_number_of_calls"] == STAGE + "BREAKER_MINIMUM_NUMBER_OF_CALLS"
    assert known[None, "breaker_good_calls_to_close"] == "Python"
    assert known[None, "breaker_ramp"] == "default"
    assert known["large", "limit"] == "Python"
    assert known["batch", "deadline"] == "topics.yaml"
    assert known["batch", "patience"] == "default"


def test_what_python_says_of_a_stage_reaches_the_policies():
    said = {
        "breakers": BreakerSettings(enforce=False),
        "retries": RetryBudgetSettings(ratio=0.05),
        "widening": WideningConfig(alarm_at=9),
        "patience": {"batch": 0.6},
        "floor": {"interactive": 1},
    }
    settings = a_stage(**said).settings(CATALOGUE)
    assert (settings.breakers, settings.retries, settings.widening) == tuple(said.values())[:3]
    assert settings.by_class["batch"].patience == 0.6
    assert settings.by_class["interactive"].floor == 1
    assert settings.tiers[0].target_seconds == 2.0


@pytest.mark.parametrize(
    ("variable", "text", "complaint"),
    [
        (TIER + "LIMIT", "many", f"{TIER}LIMIT: 'many' is not a whole number"),
        (TIER + "LIMIT", "0", f"{TIER}LIMIT: tier large: limit 0 leaves it no permit"),
        (TIER + "EXPECT", "800", f"{TIER}EXPECT: '800' is not a duration"),
        (TIER + "LIMIT_ENFORCE", "maybe", f"{TIER}LIMIT_ENFORCE: 'maybe' is neither true nor false"),
        (STAGE + "BYTES_MAX", "64 bits", f"{STAGE}BYTES_MAX: '64 bits' is not a size"),
        (STAGE + "BATCH__PATIENCE", "2", f"{STAGE}BATCH__PATIENCE: class batch: patience 2.0 is not between"),
        (STAGE + "BREAKER_RAMP_FROM", "half", f"{STAGE}BREAKER_RAMP_FROM: 'half' is not a number"),
        (STAGE + "BREAKER_WAIT_DURATION_IN_OPEN", "5m", f"{STAGE}BREAKER_WAIT_DURATION_IN_OPEN: breaker: 0 < "),
        (STAGE + "RECORDS_MAX", "0", f"{STAGE}RECORDS_MAX: stage answer-all: records_max"),
    ],
)
def test_a_value_that_cannot_hold_is_refused_naming_the_variable(variable, text, complaint):
    with pytest.raises(ConfigurationError) as refused:
        settle({variable: text})
    assert str(refused.value).startswith(complaint)


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        (TIER + "LIMITS", TIER + "LIMIT"),
        ("FAILSOFT_SHOP__ANSWER_ALL__LARG__LIMIT", TIER + "LIMIT"),
        ("FAILSOFT_SHOP_ANSWER_ALL_LARGE_LIMIT", TIER + "LIMIT"),
        ("FAILSOFT_SHOPP__ANSWER_ALL__BREAKER_ENFORCE", STAGE + "BREAKER_ENFORCE"),
        (STAGE + "BREAKER_ENFORCED", STAGE + "BREAKER_ENFORCE"),
        (STAGE + "BATCH__DEADLINE", STAGE + "BATCH__PATIENCE"),
        (STAGE + "SORRY__LIMIT", TIER + "LIMIT"),
    ],
)
def test_a_variable_that_is_not_known_is_refused_naming_the_nearest_that_is(variable, nearest):
    with pytest.raises(ConfigurationError, match=f"^{variable}: no such setting; the nearest is {nearest} "):
        settle({variable: "1"})


@pytest.mark.parametrize(
    "variable", ["FAILSOFT_SHOP__FIND__TOP__LIMIT", "FAILSOFT_OTHER__WORK__LARGE__LIMIT", TIER + "LIMIT"]
)
def test_what_other_workers_are_told_and_what_is_empty_is_left_alone(variable):
    text = "" if variable.startswith(TIER) else "1"
    assert settle({variable: text}).policy == a_stage().settings(CATALOGUE)


def test_two_settings_whose_variable_would_be_one_are_refused():
    pipeline = Pipeline("shop")
    one, other = pipeline.stage("a"), pipeline.stage("a--b")
    one.tier("b--c")(answers)
    other.tier("c")(answers)
    with pytest.raises(ConfigurationError, match="FAILSOFT_SHOP__A__B__C__LIMIT would say two settings"):
        configure([one, other], CATALOGUE, {})


def test_threads_and_connections_of_an_endpoint_follow_the_limit_that_an_operator_says():
    stage = a_stage()
    (found,) = configure([stage], CATALOGUE, {TIER + "LIMIT": "6"})
    resize_endpoints(stage, found.policy)
    assert isinstance(stage.tiers[0].serves, CallableEndpoint)
    assert stage.tiers[0].serves.limit == 6


@given(st.data())
def test_every_setting_can_be_said_back_as_it_stands(data):
    declared = a_stage().settings(CATALOGUE)
    knobs = [
        knob for group in groups("shop", declared) for knob in group.knobs if knob.variable and knob.value is not None
    ]
    chosen = data.draw(st.sets(st.sampled_from([knob.variable for knob in knobs])))
    said = {
        knob.variable: f"{knob.value}s" if knob.field.endswith("_seconds") else str(knob.value)
        for knob in knobs
        if knob.variable is not None and knob.variable in chosen
    }
    found = settle(said)
    assert found.policy == declared
    assert {line.origin for line in found.settings} >= chosen


def test_every_field_of_every_settings_is_shown_once():
    declared: StageSettings = a_stage().settings(CATALOGUE)
    shown = [
        (group.part, group.tier, group.request_class, knob.field)
        for group in groups("shop", declared)
        for knob in group.knobs
    ]
    assert len(shown) == len(set(shown))
    for part in ("breakers", "retries", "widening", "coalescing", "answers", "admission"):
        assert {field for held, _, _, field in shown if held == part} == set(type(getattr(declared, part)).__slots__)
    of_tier = {field for _, tier, _, field in shown if tier == "large"}
    assert of_tier == set(type(declared.tiers[0]).__slots__) - {"name", "is_cached", "regions", "needs"}
    of_class = {field for _, _, known, field in shown if known == "batch"}
    assert of_class == set(type(declared.classes[0]).__slots__) - {"name"}
