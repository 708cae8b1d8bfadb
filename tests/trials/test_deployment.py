from pathlib import Path

import pytest

import failsoft
from failsoft.trials.deployment import pipeline_target


def test_in_a_checkout_the_pipeline_to_play_with_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "served.py").touch()
    monkeypatch.chdir(tmp_path)
    assert pipeline_target("served") == "workers.served:pipeline"


def test_elsewhere_the_copy_that_comes_with_the_package_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "served.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(failsoft, "__path__", [str(tmp_path)])
    assert pipeline_target("served") == "failsoft.templates.served:pipeline"
