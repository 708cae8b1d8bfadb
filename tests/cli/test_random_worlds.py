"""Random worlds from the command line: over all cores, in order, each failure with the command that replays it."""

import json

import pytest
from typer.testing import CliRunner

from failsoft.cli import app, random_worlds
from failsoft.cli.dice import dice_of
from failsoft.simulation.fleet import Fleet
from failsoft.simulation.fuzz import Fuzzed, fuzz
from failsoft.simulation.invariants import Broken

BREACH = Broken("lost", 12.0, "3 requests, the first [1, 2, 3]")


def ran(seed: int, *broken: Broken) -> Fuzzed:
    return Fuzzed(
        seed=seed, requests=1_000 + seed, hosts=3, faults=5, virtual_seconds=20.0, repeats_in_log=1, broken=broken
    )


def test_worlds_that_run_on_other_cores_are_the_same_and_come_in_order():
    runs = list(random_worlds.run_worlds(range(1, 10)))
    assert [run.seed for run in runs] == list(range(1, 10))
    assert runs[3] == fuzz(4, dice_of(4))


def test_a_failing_seed_says_what_broke_and_how_to_see_it_again():
    lines = list(random_worlds.failure_lines(ran(7, *[BREACH] * 12)))
    assert len(lines) == random_worlds.BROKEN_SHOWN + 1
    assert lines[0] == "BROKEN in seed 7: lost at 12.000 s: 3 requests, the first [1, 2, 3]"
    assert lines[-1].endswith("12 in all; again with: failsoft simulate --fuzz 1 --seed 7")
    assert list(random_worlds.failure_lines(ran(8))) == []


def test_figures_tell_the_least_the_median_and_the_most():
    found = random_worlds.figures([ran(1), ran(2), ran(9)])
    assert found["requests"] == {"min": 1_001, "median": 1_002, "max": 1_009}


def test_a_broken_invariant_is_a_broken_promise(monkeypatch):
    monkeypatch.setattr(random_worlds, "fuzz", lambda seed, _: ran(seed, *[BREACH] * (seed == 4)))
    done = CliRunner().invoke(app, ["simulate", "--fuzz", "3", "--seed", "3", "--json", "-"])
    assert done.exit_code == 1
    assert "--seed 4" in done.stderr
    found = json.loads(done.stdout)
    assert (found["worlds"], found["failing_seeds"], found["invariants_broken"]) == (3, [4], 1)


def test_a_world_that_ends_on_an_error_is_broken(monkeypatch):
    def fail(fleet: Fleet) -> None:
        fleet.engine.run(until=3.0)
        raise KeyError("worker-0")

    monkeypatch.setattr(Fleet, "run", fail)
    (breach,) = fuzz(1, dice_of(1)).broken
    assert (breach.rule, breach.at) == ("raised", 3.0)
    assert "KeyError: 'worker-0'" in breach.detail


@pytest.mark.parametrize("worlds", ["0", "-1"])
def test_no_worlds_are_none_to_judge(worlds):
    assert CliRunner().invoke(app, ["simulate", "--fuzz", worlds]).exit_code == 2
