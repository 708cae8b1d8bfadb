"""A prompt that was logged is found, and not shown again."""

from pathlib import Path

from failsoft.trials.faults.leaks import leaks


def test_each_line_of_a_log_that_quotes_a_prompt_is_named_by_its_place_only(tmp_path: Path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "worker-1.log").write_bytes(b"all is well\nfailed on canary-red question 7\n\xff\n")
    (tmp_path / "trial.log").write_text("canary-red\n")
    (tmp_path / "producer-1.jsonl").write_text("canary-red\n")
    assert list(leaks(tmp_path, ["canary-red", "canary-blue"])) == ["logs/worker-1.log, line 2", "trial.log, line 1"]
    assert list(leaks(tmp_path, ["canary-blue"])) == []
