import re
import signal
import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.kafka

COMMAND = [sys.executable, "-c", "from failsoft.cli import app; app()", "broker"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_tells_its_address_keeps_its_data_and_ends_in_order(number, tmp_path):
    command = [*COMMAND, "--data", str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()
        process.send_signal(number)
        rest, complaints = process.communicate(timeout=30)
    assert re.fullmatch(r"KAFKA_BOOTSTRAP_SERVERS=127\.0\.0\.1:\d+\n", line), complaints
    assert rest == ""
    assert process.returncode == 0, complaints
    assert (tmp_path / "data" / "log" / "meta.properties").exists()


def test_a_taken_port_is_an_error_of_the_environment():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run([*COMMAND, "--port", str(port)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "failsoft: Kafka ended: the port is taken" in done.stderr
