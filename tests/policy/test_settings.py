import pytest

from failsoft.policy.errors import ConfigurationError
from failsoft.policy.settings import ClassSettings, StageSettings, TierSettings, default_patience


def known_class(**said: object) -> ClassSettings:
    usual = {"name": "batch", "weight": 1.0, "deadline_seconds": 60.0, "deadline_max_seconds": 600.0, "patience": 0.5}
    return ClassSettings(**{**usual, **said})  # type: ignore[arg-type]  # each case names one field


def stage(*tiers: TierSettings, floor: int = 3) -> StageSettings:
    return StageSettings("answer", tiers, (known_class(floor=floor),))


LARGE, SMALL, APOLOGY = TierSettings("large", 1), TierSettings("small", 2), TierSettings("apology", 3, limit=None)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"level": 0}, "tier large: level 0 is not 1, 2 or 3"),
        ({"level": 4}, "tier large: level 4"),
        ({"limit": 0}, "tier large: limit 0 leaves it no permit"),
        ({"expected_seconds": 0.0}, "tier large: expect 0.0 s is not a duration above zero"),
        ({"expected_seconds": -1.0}, "tier large: expect -1.0 s"),
    ],
)
def test_a_tier_that_cannot_work_is_refused_by_name(said, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        TierSettings(**{"name": "large", "level": 1, **said})


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"weight": 0}, "class batch: weight 0 must be above zero"),
        ({"deadline_seconds": 0}, "class batch: 0 < deadline <= deadline_max"),
        ({"deadline_seconds": 700}, "class batch: 0 < deadline <= deadline_max"),
        ({"patience": -0.1}, "class batch: patience -0.1 is not between 0 and 1"),
        ({"patience": 1.1}, "class batch: patience 1.1"),
        ({"floor": 0}, "class batch: floor 0 is not 1, 2 or 3"),
        ({"floor": 4}, "class batch: floor 4 is not 1, 2 or 3"),
    ],
)
def test_a_class_that_cannot_work_is_refused_by_name(said, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        known_class(**said)


@pytest.mark.parametrize(
    ("tiers", "floor", "complaint"),
    [
        ([], 3, "stage answer: it has no tier"),
        ([LARGE, LARGE], 3, "two tiers have the same name: large, large"),
        (
            [TierSettings("sure", 1, limit=None), SMALL],
            3,
            "tiers that answer at once come after those that take a call",
        ),
        ([SMALL, LARGE], 3, r"declared best first, but their levels are \[2, 1\]"),
        ([SMALL, APOLOGY], 1, "class batch: no tier reaches its floor 1"),
    ],
)
def test_a_stage_that_cannot_work_is_refused_by_name(tiers, floor, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        stage(*tiers, floor=floor)


@pytest.mark.parametrize(
    "tiers", [[LARGE], [LARGE, SMALL, APOLOGY], [LARGE, TierSettings("other", 1)], [APOLOGY], [SMALL, APOLOGY]]
)
def test_any_number_of_tiers_best_first_is_a_stage(tiers):
    assert stage(*tiers).by_class["batch"].floor == 3


def test_the_most_urgent_class_waits_least_for_a_better_tier_and_the_least_urgent_most():
    assert [default_patience(position, 3) for position in range(3)] == [0.1, 0.5, 0.95]
    assert [default_patience(position, 4) for position in range(4)] == [0.1, 0.5, 0.5, 0.95]
    assert default_patience(0, 1) == 0.1
