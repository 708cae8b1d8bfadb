from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.errors import ConfigurationError
from failsoft.policy.routing import STEPS, Route, Routes, place

REQUESTS = [f"/batch/0123\0{n}" for n in range(30_000)]
TO_US = Route("large", "eu", "us", 0.0, 1)


def routes() -> Routes:
    return Routes({"large": ("eu", "us"), "small": ("eu", "us"), "local": ()})


def gone_over(route: Route) -> set[str]:
    return {identity for identity in REQUESTS if route.region(identity) == route.target}


def test_without_a_word_everything_goes_where_the_author_put_it_first():
    known = routes()
    assert {known.region("large", identity=identity) for identity in REQUESTS[:1_000]} == {"eu"}
    assert known.region("local", identity="1") is None


def test_a_ramp_goes_by_a_hundredth_a_tenth_a_half_and_then_all():
    route, shares = TO_US, []
    for _ in range(5):
        route = route.advanced()
        shares.append(route.share)
    assert shares == [0.01, 0.1, 0.5, 1.0, 1.0]
    assert route.epoch == 6


@pytest.mark.parametrize("share", STEPS)
def test_the_share_said_is_the_share_that_goes_over(share):
    sigma = (share * (1 - share) / len(REQUESTS)) ** 0.5
    assert len(gone_over(replace(TO_US, share=share))) / len(REQUESTS) == pytest.approx(share, abs=4 * sigma)


def test_at_nothing_and_at_all_nobody_is_left_on_the_other_side():
    assert gone_over(TO_US) == set()
    assert gone_over(replace(TO_US, share=1.0)) == set(REQUESTS)


def test_who_went_over_stays_there_as_the_share_grows():
    steps = [gone_over(replace(TO_US, share=share)) for share in STEPS]
    assert all(before < after for before, after in pairwise(steps))


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_no_identity_ever_goes_back_while_the_share_grows(identity, one, other):
    less, more = sorted((one, other))
    if replace(TO_US, share=less).region(identity) == "us":
        assert replace(TO_US, share=more).region(identity) == "us"
    assert 0 <= place(identity) < 1


def test_a_request_is_on_one_side_at_all_its_endpoints():
    known = routes()
    for endpoint in ("large", "small"):
        known.heard(replace(TO_US, endpoint=endpoint, share=0.5))
    for identity in REQUESTS[:1_000]:
        assert known.region("large", identity=identity) == known.region("small", identity=identity)


def test_the_word_on_one_endpoint_moves_no_other():
    known = routes()
    known.heard(replace(TO_US, share=1.0))
    assert (known.region("large", identity="1"), known.region("small", identity="1")) == ("us", "eu")


def test_going_back_is_one_word_at_once_and_for_all():
    known = routes()
    ramp = TO_US.advanced().advanced().advanced()
    known.heard(ramp)
    assert {known.region("large", identity=identity) for identity in REQUESTS[:100]} == {"eu", "us"}
    known.heard(ramp.withdrawn())
    assert {known.region("large", identity=identity) for identity in REQUESTS[:1_000]} == {"eu"}


@given(st.permutations([replace(TO_US, share=step, epoch=epoch) for epoch, step in enumerate(STEPS)]))
def test_in_whatever_order_words_are_heard_the_last_epoch_holds(words):
    known = routes()
    for word in words:
        assert known.heard(word)
    assert known.region("large", identity=REQUESTS[0]) == "us"


def test_of_two_words_with_one_epoch_the_later_in_the_log_holds():
    known = routes()
    known.heard(replace(TO_US, share=1.0))
    known.heard(TO_US)
    assert known.region("large", identity="1") == "eu"


@pytest.mark.parametrize(
    "route",
    [
        replace(TO_US, target="mars", share=1.0, epoch=9),
        replace(TO_US, origin="mars", share=1.0, epoch=9),
        replace(TO_US, endpoint="unheard", share=1.0, epoch=9),
        replace(TO_US, endpoint="local", share=1.0, epoch=9),
    ],
)
def test_a_word_on_what_is_unknown_here_is_not_followed_and_hides_no_other(route):
    known = routes()
    known.heard(replace(TO_US, share=1.0))
    assert not known.heard(route)
    assert known.region("large", identity="1") == "us"


@pytest.mark.parametrize(
    ("wrong", "named"), [({"share": 1.01}, "share"), ({"share": -0.1}, "share"), ({"target": "eu"}, "both 'eu'")]
)
def test_a_route_that_cannot_work_is_refused_with_its_endpoint(wrong, named):
    with pytest.raises(ConfigurationError, match=f"route of large.*{named}"):
        replace(TO_US, **wrong)
