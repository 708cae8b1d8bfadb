import json
import re
import signal
import subprocess
import sys
import urllib.request

import pytest
from typer.testing import CliRunner

from failsoft.cli import app

COMMAND = [sys.executable, "-c", "from failsoft.cli import app; app()", "model-server", "--no-digits"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_tells_its_address_serves_and_ends_in_order(number, tmp_path):
    models = tmp_path / "models.yaml"
    models.write_text("only: {slots: 1, queue: 0, median_seconds: 0.001}")
    command = [*COMMAND, "--models", str(models)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()
        address = re.fullmatch(r"OPENAI_BASE_URL=(http://127\.0\.0\.1:\d+/v1)\n", line)
        if address:
            with urllib.request.urlopen(f"{address[1]}/models", timeout=10) as response:  # noqa: S310 - 127.0.0.1
                assert [model["id"] for model in json.load(response)["data"]] == ["only"]
        process.send_signal(number)
        rest, complaints = process.communicate(timeout=30)
    assert address, complaints
    assert rest == ""
    assert process.returncode == 0, complaints


def test_a_file_that_is_wrong_is_an_error_of_usage(tmp_path):
    models = tmp_path / "models.yaml"
    for text in (None, "only: {slots: 0}"):
        if text is not None:
            models.write_text(text)
        done = CliRunner().invoke(app, ["model-server", "--models", str(models)])
        assert done.exit_code == 2
        assert "models.yaml" in done.stderr
