from failsoft.policy.outcome import STATUS_CODES, Outcome, Reason


def test_every_outcome_has_a_status_and_only_ok_says_success():
    assert STATUS_CODES.keys() == set(Outcome)
    assert [outcome for outcome, status in STATUS_CODES.items() if status < 400] == [Outcome.OK]


def test_outcomes_and_reasons_are_words_of_the_wire_and_fit_a_metric_label():
    """A word that is on the wire is never renamed: this list only grows."""
    assert {outcome.value for outcome in Outcome} == {"ok", "expired", "shed", "unavailable", "invalid", "failed"}
    assert {reason.value for reason in Reason} >= {
        "none",
        "deadline_passed",
        "deadline_short",
        "queue_long",
        "endpoint_timeout",
        "endpoint_error",
        "endpoint_backpressure",
        "malformed",
        "request_refused",
        "answer_unusable",
        "floor",
    }
    assert all(reason.value.replace("_", "").isalpha() and reason.value.islower() for reason in Reason)
