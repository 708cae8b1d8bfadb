import sys
from pathlib import Path

import pytest

import failsoft
from failsoft.catalogue import load
from failsoft.policy.errors import ConfigurationError
from failsoft.trials.deployment import has_pipeline, pipeline_target, require_listed


def packaged_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on failsoft is what stands in this folder, as far as its templates go."""
    monkeypatch.setattr(failsoft, "__path__", [str(folder)])
    monkeypatch.delitem(sys.modules, "failsoft.templates", raising=False)


def test_in_a_checkout_the_pipeline_to_play_with_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "served.py").touch()
    monkeypatch.chdir(tmp_path)
    assert pipeline_target("served") == "workers.served:pipeline"


def test_elsewhere_the_copy_that_comes_with_the_package_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "served.py").touch()
    monkeypatch.chdir(tmp_path)
    packaged_in(tmp_path, monkeypatch)
    assert pipeline_target("served") == "failsoft.templates.served:pipeline"
    assert has_pipeline("served")


def test_where_there_is_neither_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    packaged_in(tmp_path, monkeypatch)
    assert not has_pipeline("served")
    with pytest.raises(ConfigurationError, match=r"no workers/served\.py here"):
        pipeline_target("served")


def test_a_catalogue_without_a_pipeline_of_the_demo_is_refused_with_the_line_that_it_needs():
    catalogue = load(Path(__file__).parents[2] / "topics.yaml")
    require_listed(catalogue, "support", ("retrieve", "answer"))
    with pytest.raises(ConfigurationError, match=r"add `shop: \[find, answer\]` to topics\.yaml"):
        require_listed(catalogue, "shop", ("find", "answer"))
