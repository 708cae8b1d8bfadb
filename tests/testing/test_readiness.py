import pytest

from failsoft.testing.readiness import explain_death


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("java.net.BindException: Address already in use", "port is taken"),
        ("java.io.IOException: No space left on device", "disk is full"),
        ("Failed to acquire lock on file .lock in /data/log", "another Kafka uses this data folder"),
        ("java.lang.OutOfMemoryError: Java heap space", "out of memory"),
    ],
)
def test_a_known_death_is_explained_in_words_that_lead_to_the_fix(line, reason):
    assert reason in explain_death(f"starting\n{line}\nat some.Class(File.java:1)", 1)


def test_an_unknown_death_is_told_by_its_last_words():
    text = explain_death("\n".join(f"line {n}" for n in range(100)) + "\n\tat some.Class(File.java:1)" * 50, 42)
    assert "exit code 42" in text
    assert text.endswith("line 99")
    assert "line 89" not in text
