import random

import pytest

from failsoft.policy.actions import Action, Forget, Publish, Release, StartCall
from failsoft.policy.errors import IllegalTransition
from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.policy.request import RecordId
from failsoft.simulation.bodies import Bodies
from failsoft.simulation.fleet import Fleet
from failsoft.simulation.scenarios import named

RECORD = RecordId("batch", 0, 7)
CALL = StartCall(1, RECORD, "full", 2.0, 3.0, 1, 1)
ENDING = Ending(Outcome.OK, Reason.NONE, wanted_level=1)


@pytest.mark.parametrize(
    "said",
    [
        (),
        (Release(RECORD),),
        (Forget(RECORD),),
        (Publish(RECORD, 1, ENDING),),
        (Publish(RECORD, 1, ENDING, keeps_body=True), Release(RECORD)),
        (Forget(RECORD, keeps_body=True), Release(RECORD)),
    ],
)
@pytest.mark.parametrize("action", [CALL, Release(RECORD)])
def test_a_body_that_never_came_or_that_was_given_up_is_neither_called_with_nor_released(
    said: tuple[Action, ...], action: Action
):
    bodies = Bodies()
    if said:
        bodies.arrived(RECORD)
    for earlier in said:
        bodies.follow(earlier)
    with pytest.raises(IllegalTransition, match="its body is gone"):
        bodies.follow(action)


@pytest.mark.parametrize("said", [Publish(RECORD, 1, ENDING, keeps_body=True), Forget(RECORD, keeps_body=True)])
def test_a_body_that_is_kept_for_others_may_be_called_with(said: Action):
    bodies = Bodies()
    bodies.arrived(RECORD)
    for action in (CALL, said, CALL, Release(RECORD)):
        bodies.follow(action)
    assert len(bodies) == 0


def test_no_worker_keeps_a_body_when_all_has_ended():
    fleet = Fleet(named("leader-killed").plan, lambda part: random.Random(f"bodies {part}"))
    fleet.run()
    kept = [len(host.process.shell.bodies) for host in fleet.hosts if host.process is not None]
    assert kept == [0, 0, 0]
