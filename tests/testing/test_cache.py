from pathlib import Path

import pytest

from failsoft.policy.errors import EnvironmentFailure
from failsoft.testing.cache import cache_folder, one_at_a_time


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"FAILSOFT_CACHE": "/own", "XDG_CACHE_HOME": "/xdg"}, Path("/own")),
        ({"XDG_CACHE_HOME": "/xdg"}, Path("/xdg/failsoft")),
        ({"FAILSOFT_CACHE": "", "XDG_CACHE_HOME": ""}, Path.home() / ".cache/failsoft"),
        ({}, Path.home() / ".cache/failsoft"),
    ],
)
def test_the_nearest_variable_names_the_folder(environment, folder):
    assert cache_folder(environment) == folder


def test_a_cache_that_cannot_be_written_is_explained(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(EnvironmentFailure, match="FAILSOFT_CACHE"), one_at_a_time(in_the_way / "cache"):
        pass
