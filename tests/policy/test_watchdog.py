import math

import pytest

from failsoft.policy.errors import ConfigurationError
from failsoft.policy.watchdog import Sight, Step, Watch, WatchdogSettings


def steps(watch: Watch, sights: list[Sight], *, every: float = 1.0, since: float = 0.0) -> list[Step]:
    return [watch.look(sight, now=since + every * number) for number, sight in enumerate(sights)]


def standing(seconds: int) -> list[Sight]:
    return [Sight(is_due=True, done=7)] * (seconds + 1)


def watch() -> Watch:
    return Watch(rebuild_seconds=60.0, exit_seconds=180.0)


def test_a_duty_that_stands_still_is_rebuilt_once_and_then_ends_the_process():
    found = steps(watch(), standing(180))
    assert [(at, step) for at, step in enumerate(found) if step is not Step.NOTHING] == [
        (60, Step.REBUILD),
        (180, Step.EXIT),
    ]


def test_a_duty_that_gets_on_however_slowly_is_left_alone():
    sights = [Sight(is_due=True, done=second // 59) for second in range(1_000)]
    assert set(steps(watch(), sights)) == {Step.NOTHING}


def test_a_duty_that_has_nothing_to_do_is_left_alone():
    assert set(steps(watch(), [Sight(is_due=False, done=0)] * 1_000)) == {Step.NOTHING}


def test_silence_ends_where_a_duty_is_at_rest():
    watched = watch()
    steps(watched, standing(50))
    assert watched.look(Sight(is_due=False, done=7), now=51.0) is Step.NOTHING
    assert watched.silent_seconds == 0.0


def test_the_rest_of_a_part_that_was_just_rebuilt_proves_nothing():
    watched = watch()
    assert steps(watched, standing(60)).count(Step.REBUILD) == 1
    assert set(steps(watched, [Sight(is_due=False, done=7)] * 20, since=61.0)) == {Step.NOTHING}
    found = steps(watched, standing(130), since=81.0)
    assert (found.count(Step.REBUILD), found.index(Step.EXIT)) == (0, 119)


def test_what_gets_on_or_rests_for_long_after_a_rebuilding_is_rebuilt_anew_when_it_stands_again():
    for sights in ([Sight(is_due=False, done=7)] * 60, [Sight(is_due=True, done=8), Sight(is_due=True, done=7)]):
        watched = watch()
        steps(watched, standing(60))
        steps(watched, sights, since=61.0)
        assert watched.silent_seconds == 0.0
        assert steps(watched, standing(70), since=130.0).count(Step.REBUILD) == 1


def test_the_time_of_an_outage_is_nobodys_fault_and_what_follows_it_has_its_full_time():
    watched = watch()
    steps(watched, standing(170))
    for now in range(171, 2_000):
        assert watched.look(standing(0)[0], now=now, is_cluster_whole=False) is Step.NOTHING
    found = steps(watched, standing(180), since=2_000.0)
    assert found.index(Step.EXIT) >= 179


def test_of_a_pause_of_the_whole_process_only_a_step_counts():
    watched = watch()
    steps(watched, standing(10))
    assert watched.look(standing(0)[0], now=1_000_000.0) is Step.NOTHING
    assert watched.silent_seconds == 12.0


def test_what_has_no_part_to_rebuild_only_ends():
    watched = Watch(exit_seconds=60.0)
    found = steps(watched, standing(60))
    assert set(found[:-1]) == {Step.NOTHING}
    assert found[-1] is Step.EXIT


@pytest.mark.parametrize(("seconds", "is_suspect"), [(4, False), (5, True)])
def test_the_cluster_is_asked_about_only_where_something_stands(seconds, is_suspect):
    watched = watch()
    steps(watched, standing(seconds))
    assert watched.is_suspect is is_suspect


@pytest.mark.parametrize(
    "said", [{"rebuild_seconds": 0.0}, {"exit_seconds": 60.0}, {"loop_seconds": 0.0}, {"rebuild_seconds": math.inf}]
)
def test_bounds_that_cannot_work_are_refused(said):
    with pytest.raises(ConfigurationError, match="watchdog"):
        WatchdogSettings(**said)


def test_what_stages_share_is_held_to_the_strictest_of_them():
    dark = WatchdogSettings(rebuild_seconds=10.0, enforce=False)
    short = WatchdogSettings(exit_seconds=90.0, loop_seconds=5.0)
    assert WatchdogSettings.strictest([dark, short]) == WatchdogSettings(10.0, 90.0, 5.0)
