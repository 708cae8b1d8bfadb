from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.catalogue import ClassSettings, TopicSpec, dead_letters_topic, load, parse, requests_topic, results_topic
from failsoft.policy.errors import ConfigurationError

WRITTEN = """\
version: 1
defaults: {partitions: 6, replication: 3, config: {min.insync.replicas: 2, message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 5s, deadline_max: 60s}
  batch:       {weight: 1, deadline: 24h, deadline_max: 72h}
pipelines:
  digits: [classify]
topics:
  requests:     {config: {retention.ms: 7d, max.message.bytes: 1.25MiB}}
  results:      {config: {retention.ms: 7d, max.message.bytes: 4MiB}}
  dead-letters: {config: {retention.ms: 14d}}
reply_topics: [replies]
"""


def with_change(old: str, new: str) -> str:
    assert WRITTEN.count(old) >= 1, old
    return WRITTEN.replace(old, new, 1)


def specs(text: str) -> dict[str, TopicSpec]:
    return {spec.name: spec for spec in parse(text).wanted_topics()}


def test_classes_keep_their_order_and_are_in_seconds():
    catalogue = parse(WRITTEN)
    assert list(catalogue.classes.values()) == [
        ClassSettings("interactive", 8, 5.0, 60.0),
        ClassSettings("batch", 1, 86_400.0, 259_200.0),
    ]
    assert catalogue.pipelines == {"digits": ("classify",)}
    assert catalogue.reply_topics == ("replies",)


def test_topics_are_named_by_pipeline_stage_and_class():
    assert requests_topic("digits", "classify", "batch") == "digits.classify.batch"
    assert results_topic("digits") == "digits.results"
    assert dead_letters_topic("digits") == "digits.dead-letters"
    assert list(specs(WRITTEN)) == [
        "digits.classify.interactive",
        "digits.classify.batch",
        "digits.results",
        "digits.dead-letters",
    ]


def test_a_topic_has_the_defaults_and_its_own_settings_as_kafka_takes_them():
    spec = specs(WRITTEN)["digits.classify.batch"]
    assert (spec.partitions, spec.replication) == (6, 3)
    assert spec.config == {
        "min.insync.replicas": "2",
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": "604800000",
        "max.message.bytes": "1310720",
    }


def test_only_kinds_that_are_there_are_wanted_and_may_differ_from_the_defaults():
    found = specs(
        with_change("reply_topics", "  breakers: {partitions: 1, config: {cleanup.policy: compact}}\nreply_topics")
    )
    assert found["digits.breakers"].partitions == 1
    assert found["digits.breakers"].config["cleanup.policy"] == "compact"
    assert "digits.outcomes" not in found


def test_a_later_stage_takes_messages_as_large_as_results_are():
    found = specs(with_change("[classify]", "[retrieve, answer]"))
    assert found["digits.retrieve.batch"].config["max.message.bytes"] == "1310720"
    assert found["digits.answer.batch"].config["max.message.bytes"] == "4194304"


@pytest.mark.parametrize(("alias", "known"), [("replicas: 3", "replication: 3"), ("configs: {min", "config: {min")])
def test_the_names_of_other_tools_are_read_as_well(alias, known):
    assert parse(with_change(known, alias)) == parse(WRITTEN)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("retention.ms: 604800000", "604800000"),
        ("retention.ms: -1", "-1"),
        ("retention.ms: '604800000'", "604800000"),
        ("retention.ms: 144h", "518400000"),
        ("retention.ms: 7d, segment.bytes: 512KiB", "524288"),
        ("retention.ms: 7d, segment.bytes: 1MB", "1000000"),
        ("retention.ms: 7d, unclean.leader.election.enable: false", "false"),
        ("retention.ms: 7d, min.cleanable.dirty.ratio: 0.01", "0.01"),
        ("retention.ms: 7d, follower.replication.throttled.replicas: ['0:1', '0:2']", "0:1,0:2"),
    ],
)
def test_a_configuration_value_is_written_as_kafka_takes_it(written, value):
    config = specs(with_change("retention.ms: 7d", written))["digits.classify.batch"].config
    key = written.replace("retention.ms: 7d, ", "").partition(":")[0]
    assert config[key] == value


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "fix"),
    [
        ("version: 1", "version: 2", 1, "version", "should be 1"),
        ("version: 1\n", "", 1, "version", "is missing; add it"),
        ("version: 1", "version: 1\nversion: 1", 2, "version", "twice; keep one"),
        ("weight: 8", "weight: 0", 4, "classes.interactive.weight", "greater than 0"),
        ("weight: 8", "weight: .inf", 4, "classes.interactive.weight", "finite"),
        ("weight: 8", "weight: '8'", 4, "classes.interactive.weight", "valid number"),
        ("weight: 8, ", "", 4, "classes.interactive.weight", "is missing"),
        ("weight: 1", "wait: 1", 5, "classes.batch.wait", "there are: weight, deadline, deadline_max"),
        ("deadline: 5s", "deadline: '5'", 4, "classes.interactive.deadline", "a number and a unit"),
        ("deadline: 5s", "deadline: 0s", 4, "classes.interactive.deadline", "above zero"),
        ("deadline: 5s", "deadline: 61s", 4, "classes.interactive.deadline", "more than deadline_max"),
        ("  batch:       {", "  Batch: {", 5, "classes.Batch", "small letters"),
        ("digits: [classify]", "dig.its: [classify]", 7, "pipelines.dig.its", "small letters"),
        ("[classify]", "[a, b_c]", 7, "pipelines.digits.1", "small letters"),
        ("[classify]", "[a, a]", 7, "pipelines.digits", "a is there twice"),
        ("[classify]", "[]", 7, "pipelines.digits", "name at least one"),
        ("[classify]", "classify", 7, "pipelines.digits", "write it in brackets"),
        ("  requests: ", "  request: ", 9, "topics.request", "there are: requests, results, dead-letters, outcomes"),
        ("  dead-letters: ", "  outcomes: ", 8, "topics.dead-letters", "is missing"),
        ("7d, max.message.bytes: 1.25", "7 days, max.message.bytes: 1.25", 9, "topics.requests.config.retention.ms", "unit"),
        ("1.25MiB", "1.25", 9, "topics.requests.config.max.message.bytes", "1.25MiB"),
        ("1.25MiB", "1.3MiB", 9, "topics.requests.config.max.message.bytes", "not a size"),
        ("1.25MiB", "[1, 2]", 9, "topics.requests.config.max.message.bytes", "write one"),
        ("{retention.ms: 14d}", "{retention.ms: }", 11, "topics.dead-letters.config.retention.ms", "write text"),
        ("{config: {retention.ms: 14d}}", "14d", 11, "topics.dead-letters", "not a mapping"),
        ("retention.ms: 7d", "retention.ms: 143h", 9, "topics.requests.config.retention.ms", "at least 518400s"),
        ("retention.ms: 7d, ", "", 9, "topics.requests.config.retention.ms", "is missing; say at least 518400s"),
        ("7d, max.message.bytes: 4MiB", "95h", 10, "topics.results.config.retention.ms", "at least 345600s"),
        ("retention.ms: 14d", "cleanup.policy: compact", 11, "topics.dead-letters.config.cleanup.policy", "use delete"),
        ("message.timestamp.type: LogAppendTime", "segment.ms: 1d", 9, "topics.requests.config.message.timestamp", "LogAppend"),
        ("{config: {retention.ms: 14d}}", "{replication: 1}", 11, "topics.dead-letters.config.min.insync.replicas", "use 1 to 1"),
        ("partitions: 6", "partitions: 0", 2, "defaults.partitions", "greater than or equal to 1"),
        ("partitions: 6", "partitions: yes", 2, "defaults.partitions", "valid integer"),
        ("replication: 3", "replication: 3, replicas: 3", 2, "defaults.replicas", "not a field"),
        ("reply_topics", "  answers: {partitions: 5}\nreply_topics", 12, "topics.answers.partitions", "use 6 here too"),
        ("[replies]", "[digits.classify.batch]", 12, "reply_topics.0", "reply elsewhere"),
        ("[replies]", "[a/b]", 12, "reply_topics.0", "not a topic name"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_line_its_field_and_the_fix(old, new, line, field, fix):
    with pytest.raises(ConfigurationError) as refused:
        parse(with_change(old, new), source="some.yaml")
    described = [text for text in str(refused.value).splitlines() if text.startswith(f"some.yaml:{line}: {field}")]
    assert described, str(refused.value)
    assert fix in described[0]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("version: [1", "some.yaml:1: "),
        ("version: 1\n\tclasses: {}", "some.yaml:2: "),
        ("a: &x 1\nb: *x", "some.yaml:2: aliases"),
        ("a: &x [*x]", "some.yaml:1: aliases"),
        ("? [a, b]\n: 1", "some.yaml:1: "),
        ("a: !!python/object:os.system 1", "some.yaml:1: "),
        ("a: \x07", "some.yaml: not YAML"),
        ("", "some.yaml:1: catalogue: is not a mapping"),
        ("- 1", "some.yaml:1: catalogue: is not a mapping"),
    ],
)
def test_what_is_no_yaml_of_ours_is_refused_with_its_line(text, place):
    with pytest.raises(ConfigurationError) as refused:
        parse(text, source="some.yaml")
    assert str(refused.value).startswith(place)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file():
    text = with_change("weight: 8", "weight: 0").replace("partitions: 6", "partitions: 0").replace("[classify]", "[]")
    with pytest.raises(ConfigurationError) as refused:
        parse(text)
    assert [line.split(":")[1] for line in str(refused.value).splitlines()] == ["2", "4", "7"]


@given(st.text(max_size=200) | st.lists(st.sampled_from(WRITTEN.splitlines())).map("\n".join))
def test_any_text_is_read_or_refused_and_never_breaks_the_reader(text):
    refusal = None
    try:
        parse(text)
    except ConfigurationError as error:
        refusal = str(error)
    assert refusal is None or refusal.startswith("topics.yaml")


def test_a_named_file_is_read_and_a_missing_one_refused_by_name(tmp_path):
    path = tmp_path / "mine.yaml"
    with pytest.raises(ConfigurationError, match=r"mine\.yaml: .*--catalogue FILE"):
        load(path)
    path.write_text(WRITTEN)
    assert load(path) == parse(WRITTEN)


def test_with_no_name_the_one_in_the_working_directory_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("topics.yaml").write_text(WRITTEN)
    assert load() == parse(WRITTEN)


def test_the_catalogue_of_this_repository_can_be_read():
    catalogue = load(Path(__file__).parents[2] / "topics.yaml")
    assert list(catalogue.classes) == ["interactive", "standard", "batch"]
    assert catalogue.stage_topics("digits", "classify")["standard"] == "digits.classify.standard"
