import pytest

from failsoft.policy.errors import ConfigurationError
from failsoft.testing.storage import fill_from_template, server_properties


def test_nothing_listens_outside_this_machine(tmp_path):
    text = server_properties(tmp_path, port=0, own={})
    assert "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0\n" in text
    assert "advertised.listeners" not in text


def test_own_settings_win_over_the_lean_ones(tmp_path):
    text = server_properties(tmp_path, port=0, own={"num.io.threads": "8", "log.retention.ms": "1000"})
    assert "num.io.threads=8\n" in text
    assert "num.io.threads=2\n" not in text
    assert "log.retention.ms=1000\n" in text


@pytest.mark.parametrize("name", ["listeners", "log.dirs", "node.id", "process.roles"])
def test_what_the_launcher_decides_cannot_be_set(tmp_path, name):
    with pytest.raises(ConfigurationError, match=name):
        server_properties(tmp_path, port=0, own={name: "x"})


def test_a_folder_that_was_used_before_keeps_what_it_has(tmp_path):
    template, folder = tmp_path / "template", tmp_path / "data"
    for place, text in ((template, "new"), (folder, "old")):
        (place / "log").mkdir(parents=True)
        (place / "log" / "meta.properties").write_text(text)
    fill_from_template(folder, template)
    assert (folder / "log" / "meta.properties").read_text() == "old"
