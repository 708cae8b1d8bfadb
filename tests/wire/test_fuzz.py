"""The fuzzer itself: a short run finds nothing, and a decoder that is wrong is found."""

import pytest

from failsoft.wire.limits import DEPTH
from tests.wire import fuzz


def test_a_short_run_finds_nothing_and_gets_past_the_door():
    counts, found = fuzz.fuzz(seed=1, records=3_000)
    assert found == []
    assert counts["records"] == 3_000
    assert counts["requests that were read"] > 100


def test_a_seed_says_what_is_tried():
    assert fuzz.fuzz(seed=2, records=50) == fuzz.fuzz(seed=2, records=50)


def test_a_decoder_that_raises_something_else_is_found(monkeypatch):
    def fragile(sample: fuzz.Sample) -> None:
        if (sample.value or b"").count(b"[") > DEPTH:
            raise RecursionError

    monkeypatch.setattr(fuzz, "CHECKS", (fragile,))
    _, found = fuzz.fuzz(seed=3, records=2_000)
    assert "fragile: RecursionError" in found[0]


@pytest.mark.parametrize(("is_wrong", "code"), [(False, 0), (True, 1)])
def test_the_exit_code_says_whether_something_was_found(monkeypatch, capsys, is_wrong, code):
    def check(_: fuzz.Sample) -> None:
        if is_wrong:
            raise KeyError

    monkeypatch.setattr(fuzz, "CHECKS", (check,))
    assert fuzz.main(["--seconds", "0.2", "--seed", "7"]) == code
    assert "seed 7: " in capsys.readouterr().out
