"""What a runbook may say, and how it is told what is wrong."""

from pathlib import Path

import pytest

from failsoft.failover.checks import Check, CheckName, arrived, finding
from failsoft.failover.run import Step
from failsoft.failover.runbook import load_runbook
from failsoft.policy.errors import ConfigurationError

TEXT = """\
version: 1
pipeline: digits
endpoint: classify/large
from: eu
to: us
canary: canaries.jsonl
before: {reachable: true, breakers: closed, agreement: 95%, p95: 500ms, capacity: 4}
during: {breakers: closed, served: 0.99}
steps:
  - {share: 5%, hold: 30s}
  - {share: 100%}
drill: {share: 1%, hold: 10s}
"""
LINE = b'{"custom_id": "1"}\n'


def written(folder: Path, text: str = TEXT, canaries: bytes | None = LINE) -> Path:
    path = folder / "eu-us.yaml"
    path.write_text(text)
    if canaries is not None:
        (folder / "canaries.jsonl").write_bytes(canaries)
    return path


def test_a_runbook_says_what_is_checked_and_how_traffic_moves(tmp_path):
    runbook = load_runbook(written(tmp_path))
    assert (runbook.name, runbook.endpoint, runbook.origin, runbook.target) == ("eu-us", "classify/large", "eu", "us")
    assert runbook.before == (
        Check(CheckName.REACHABLE, 1.0),
        Check(CheckName.BREAKERS, 0.0),
        Check(CheckName.AGREEMENT, 0.95),
        Check(CheckName.P95, 0.5),
        Check(CheckName.CAPACITY, 4.0),
    )
    assert runbook.during == (Check(CheckName.BREAKERS, 0.0), Check(CheckName.SERVED, 0.99))
    assert runbook.steps == (Step(0.05, 30.0), Step(1.0, 60.0))
    assert runbook.drill == (Step(0.01, 10.0),)


def test_the_steps_of_one_that_says_none_are_those_of_a_canary_release(tmp_path):
    text = TEXT.replace("steps:\n  - {share: 5%, hold: 30s}\n  - {share: 100%}\n", "")
    assert [step.share for step in load_runbook(written(tmp_path, text)).steps] == [0.01, 0.1, 0.5, 1.0]


def test_a_drill_may_be_shadow_calls(tmp_path):
    text = TEXT.replace("{share: 1%, hold: 10s}", "shadow")
    assert load_runbook(written(tmp_path, text)).drill == ()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("to: us", "to: eu", "5: to: is eu, as from is"),
        ("to: us\n", "", "1: to: is missing; add it"),
        ("to: us", "too: us", "5: too: is not a field of ours; there are: version, pipeline, endpoint, from, to"),
        ("classify/large", "large", "3: endpoint: 'large' is not <stage>/<tier>, such as classify/large"),
        ("agreement: 95%", "agreement: most", "7: before.agreement: 'most' is not a part; write \"95%\" or 0.95"),
        (
            "agreement: 95%",
            "agreement: 120%",
            "7: before.agreement: '120%' is not a part; use more than 0%, up to 100%",
        ),
        ("p95: 500ms", "p95: 500", None),
        ("p95: 500ms", "p95: soon", "7: before.p95: 'soon' is not a duration"),
        ("before: {", "before: {served: 99%, ", "7: before.served: is not a field of ours"),
        ("during: {breakers: closed, served: 0.99}", "during: {}", "8: during: checks nothing"),
        ("canary: canaries.jsonl\n", "", "6: before: agreement, p95 and capacity are measured with canaries"),
        ("{share: 100%}", "{share: 50%}", "9: steps: shares grow from step to step, and the last one is 100%"),
        (
            "{share: 5%, hold: 30s}",
            "{share: 5%, wait: 30s}",
            "10: steps.0.wait: is not a field of ours; there are: share, hold",
        ),
        ("{share: 1%, hold: 10s}", "{share: 60%, hold: 10s}", "12: drill.share: more than half is no drill"),
        ("capacity: 4", "capacity: 0", "7: before.capacity: "),
        ("version: 1", "version: 2", "1: version: "),
    ],
)
def test_what_cannot_work_is_refused_with_its_line_and_field(tmp_path, old, new, problem):
    assert old in TEXT
    path = written(tmp_path, TEXT.replace(old, new))
    if problem is None:
        load_runbook(path)
        return
    with pytest.raises(ConfigurationError) as refused:
        load_runbook(path)
    assert f"{path}:{problem}" in str(refused.value)


def test_canaries_that_are_not_there_are_missed(tmp_path):
    with pytest.raises(ConfigurationError, match=r"6: canary: .*canaries.jsonl cannot be read"):
        load_runbook(written(tmp_path, canaries=None))
    with pytest.raises(ConfigurationError, match=r"6: canary: .* is empty"):
        load_runbook(written(tmp_path, canaries=b"\n"))


def test_the_hash_is_of_what_is_said_and_not_of_how(tmp_path):
    first = load_runbook(written(tmp_path)).hash
    assert (
        load_runbook(written(tmp_path, "# a comment\n" + TEXT.replace("500ms", "0.5s").replace("95%", "0.95"))).hash
        == first
    )
    assert load_runbook(written(tmp_path, TEXT.replace("500ms", "600ms"))).hash != first
    assert load_runbook(written(tmp_path, canaries=LINE * 2)).hash != first


@pytest.mark.parametrize(
    ("name", "bound", "figure", "passed"),
    [
        (CheckName.P95, 0.5, 0.5, True),
        (CheckName.P95, 0.5, 0.51, False),
        (CheckName.AGREEMENT, 0.95, 0.95, True),
        (CheckName.AGREEMENT, 0.95, 0.94, False),
        (CheckName.BREAKERS, 0.0, 1.0, False),
        (CheckName.CAPACITY, 4.0, None, False),
    ],
)
def test_a_figure_passes_at_its_bound_and_not_beyond(name, bound, figure, passed):
    assert finding(Check(name, bound), figure, at="before").passed is passed


def test_a_finding_says_what_it_was_and_what_it_had_to_be():
    assert str(finding(Check(CheckName.P95, 0.5), 0.75, at="10%")) == "10%: p95 0.75, at most 0.5: FAILED"
    assert (
        str(finding(Check(CheckName.CAPACITY, 4), None, at="before"))
        == "before: capacity not measured, at least 4: FAILED"
    )


@pytest.mark.parametrize(
    ("came", "of", "share", "figure"),
    [
        (0, 0, 0.5, None),
        (0, 500, 0.01, 1.0),  # five should have: too few to tell
        (0, 2_000, 0.01, 0.0),
        (10, 2_000, 0.01, 0.5),
        (60, 100, 0.5, 1.0),
        (3, 3, 1.0, 1.0),
        (1, 2, 1.0, 0.5),
    ],
)
def test_what_arrives_is_held_against_what_should(came, of, share, figure):
    assert arrived(came, of, share) == figure
