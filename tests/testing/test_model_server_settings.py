import pytest

from failsoft.policy.errors import ConfigurationError
from failsoft.testing.model_server import ModelSettings, read_models
from failsoft.testing.model_server.settings import DigitReader


def test_models_are_read_from_yaml_and_from_json():
    expected = {
        "big": ModelSettings(slots=4, queue=8, median_seconds=0.5, sigma=0.2, digits=DigitReader.TREES),
        "tiny": ModelSettings(slots=1, queue=0, median_seconds=0.01),
    }
    yaml = """
big: {slots: 4, queue: 8, median_seconds: 0.5, sigma: 0.2, digits: trees}
tiny: {slots: 1, queue: 0, median_seconds: 0.01}
"""
    json = """{"big": {"slots": 4, "queue": 8, "median_seconds": 0.5, "sigma": 0.2, "digits": "trees"},
               "tiny": {"slots": 1, "queue": 0, "median_seconds": 0.01}}"""
    assert read_models(yaml, source="models.yaml") == read_models(json, source="models.json") == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "models.yaml:1"),
        ("{}", "models.yaml:1"),
        ("big: {slots: 1, queue: 0}", "big.median_seconds"),
        ("big:\n  slots: 0\n  queue: 0\n  median_seconds: 1", r"models.yaml:2: big\.slots"),
        ("big: {slots: 1, queue: 0, median_seconds: 1, speed: 2}", r"big\.speed"),
        ("big: {slots: 1, queue: 0, median_seconds: 1, digits: guess}", r"big\.digits"),
        ("big: {slots: 1, queue: 0, median_seconds: .inf}", r"big\.median_seconds"),
        ("big: [", "models.yaml:1"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_line(text, named):
    with pytest.raises(ConfigurationError, match=named):
        read_models(text, source="models.yaml")
