"""`failsoft run`: one output line per input line, and a killed run that goes on where it was."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.harness import Cluster

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

PIPELINE = """
import asyncio, os
from pathlib import Path
from failsoft import Output, Pipeline

pipeline = Pipeline(os.environ["TEST_PIPELINE"])

@pipeline.stage("work").tier("large", limit=2)
async def large(call):
    await asyncio.sleep(0.05)
    with Path("calls.txt").open("a") as calls:
        calls.write(call.body["input"] + "\\n")
    return Output({"object": call.url, "input": call.body["input"]})
"""


def lines(count: int) -> list[str]:
    urls = ["/v1/chat/completions", "/v1/embeddings"]
    written = [
        json.dumps({"custom_id": f"c{n}", "method": "POST", "url": urls[n % 2], "body": {"input": f"text {n}"}})
        for n in range(count)
    ]
    written[3] = "{this is no json"
    return written


def start(folder: Path, cluster: Cluster) -> "subprocess.Popen[str]":
    (folder / "shop.py").write_text(PIPELINE)
    (folder / "topics.yaml").write_text(cluster.text)
    return subprocess.Popen(
        [sys.executable, "-m", "failsoft", "run", "in.jsonl", "--pipeline", "shop:pipeline", "--out", "out.jsonl"],
        cwd=folder,
        env=os.environ
        | {"TEST_PIPELINE": cluster.pipeline, "KAFKA_BOOTSTRAP_SERVERS": cluster.connection.bootstrap_servers},
        stderr=subprocess.PIPE,
        text=True,
    )


def output(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def finish(run: "subprocess.Popen[str]") -> str:
    _, said = run.communicate(timeout=90)
    assert run.returncode == 0, said
    return said


@pytest.mark.timeout(150)
def test_every_line_has_one_output_line_and_a_run_again_repeats_nothing(cluster: Cluster, tmp_path: Path):
    (tmp_path / "in.jsonl").write_text("\n".join(lines(30)))
    finish(start(tmp_path, cluster))
    found = {line["custom_id"]: line for line in output(tmp_path)}
    assert len(output(tmp_path)) == 30
    assert set(found) == {f"c{n}" for n in range(30) if n != 3} | {None}
    assert found["c0"]["response"]["body"] == {"object": "/v1/chat/completions", "input": "text 0"}  # type: ignore[index]
    assert found["c1"]["response"]["body"]["object"] == "/v1/embeddings"  # type: ignore[index]
    bad = found[None]
    assert bad["response"] is None
    assert bad["error"]["code"] == "invalid_json"  # type: ignore[index]
    assert "line 4" in bad["error"]["message"]  # type: ignore[index]
    before = (tmp_path / "out.jsonl").read_bytes()
    assert "30 of them by an earlier run" in finish(start(tmp_path, cluster))
    assert (tmp_path / "out.jsonl").read_bytes() == before


@pytest.mark.timeout(200)
async def test_a_run_that_is_killed_goes_on_without_repeating_finished_lines(cluster: Cluster, tmp_path: Path):
    (tmp_path / "in.jsonl").write_text("\n".join(lines(200)))
    run, out = start(tmp_path, cluster), tmp_path / "out.jsonl"
    ends_at = time.monotonic() + 60
    while not (out.exists() and out.read_text().count("\n") > 40):
        assert time.monotonic() < ends_at
        assert run.poll() is None, run.communicate()[1]
        await asyncio.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    finished = [line["custom_id"] for line in output(tmp_path)]
    calls_before = (tmp_path / "calls.txt").read_text().splitlines()
    out.write_bytes(out.read_bytes() + b'{"id":"cut')
    said = finish(start(tmp_path, cluster))
    again = [line["custom_id"] for line in output(tmp_path)]
    assert again[: len(finished)] == finished
    assert sorted(map(str, again)) == sorted(map(str, [*(f"c{n}" for n in range(200) if n != 3), None]))
    assert "removed a cut last line" in said
    done = {f"text {str(name)[1:]}" for name in finished if name is not None}
    calls_after = (tmp_path / "calls.txt").read_text().splitlines()[len(calls_before) :]
    assert not done & set(calls_after), "finished lines were run again"
