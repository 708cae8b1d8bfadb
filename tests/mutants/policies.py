"""Mistakes in the decisions: one group for each promise."""

from tests.mutants.mutant import Mutant

ANSWERS = "tests/policy/test_stage_answers.py"
BOARD = "tests/policy/test_breaker_board.py"
BREAKER = "tests/policy/test_breaker.py"
COALESCING = "tests/policy/test_coalescing.py"
LIMITS = "tests/policy/test_stage_limits.py"
SCENARIO = "tests/simulation/test_scenarios.py::test_every_scenario_shows_what_it_must_and_breaks_no_invariant"
SHARED = "tests/policy/test_stage_sharing.py"
STAGE = "tests/policy/test_stage_machine.py"

_OFFSETS = (
    Mutant(
        "commits one offset too far",
        "failsoft/policy/offsets.py",
        "return self._open[0] if self._open else self._position",
        "return self._open[0] + 1 if self._open else self._position",
        (f"{STAGE}::test_an_offset_is_committed_when_its_result_and_all_before_it_are_acknowledged",),
    ),
    Mutant(
        "commits an offset at arrival",
        "failsoft/policy/offsets.py",
        "        if offset not in self._done_before:\n",
        "        if offset not in self._done_before:\n            self.finished(offset)\n",
        (f"{STAGE}::test_an_offset_is_committed_when_its_result_and_all_before_it_are_acknowledged",),
    ),
    Mutant(
        "hands out a record of a wary partition before a commit names it",
        "failsoft/policy/quarantine.py",
        "if offset <= mark.progress.highest_started]",
        "]",
        ("tests/policy/test_quarantine.py",),
    ),
    Mutant(
        "lets suspects out beside each other",
        "failsoft/policy/quarantine.py",
        "if any(ward.under_way for ward in self._wards.values()):",
        "if any(ward.under_way for ward in self._suspected.values()):",
        ("tests/policy/test_quarantine.py",),
    ),
    Mutant(
        "takes a record for poison that was not out alone",
        "failsoft/policy/progress.py",
        "if self.is_alone and self.crashes >= CRASHES_MAX",
        "if self.crashes >= CRASHES_MAX",
        ("tests/policy/test_progress.py", "tests/policy/test_quarantine.py"),
    ),
    Mutant(
        "believes what a mark says of a log that was made anew",
        "failsoft/policy/offsets.py",
        "if appended_at > self._done_until:",
        "if False:",
        ("tests/policy/test_quarantine.py",),
    ),
    Mutant(
        "believes that what was done in one log is done in another of the same name",
        "failsoft/policy/offsets.py",
        "remembered.log == progress.log and ",
        "",
        ("tests/policy/test_offsets.py::test_what_was_done_in_one_log_is_not_done_in_another_of_the_same_name",),
    ),
    Mutant(
        "counts a late finish of an old assignment",
        "failsoft/policy/offsets.py",
        "elif owned.assignment == assignment:",
        "else:",
        (
            "tests/policy/test_offsets.py::test_what_an_earlier_assignment_finishes_late_does_not_finish_what_has_begun_again",
        ),
    ),
    Mutant(
        "takes the result of an old assignment for that of the new one",
        "failsoft/policy/stage/machine.py",
        "if work is not None and work.assignment == event.assignment:",
        "if work is not None:",
        (f"{STAGE}::test_a_late_acknowledgement_of_an_earlier_assignment_moves_nothing",),
    ),
    Mutant(
        "goes on with what belongs to another worker now",
        "failsoft/policy/stage/machine.py",
        "        self._forget(work for work in self._work.values() if work.record.partition in event.partitions)\n",
        "",
        (f"{STAGE}::test_what_runs_waits_or_is_being_published_of_a_lost_partition_is_void",),
    ),
)

_DEADLINES = (
    Mutant(
        "executes what has expired",
        "failsoft/policy/deadline.py",
        "return Granted(budget, budget - transit - queue, is_suspect)",
        "return Granted(budget, max(1.0, budget - transit - queue), is_suspect)",
        (f"{STAGE}::test_a_request_past_its_deadline_on_arrival_is_never_called",),
    ),
    Mutant(
        "forgets the wait in the log",
        "failsoft/policy/deadline.py",
        "budget - transit - queue, is_suspect",
        "budget - transit, is_suspect",
        (f"{STAGE}::test_the_wait_in_the_log_counts_as_waiting",),
    ),
    Mutant(
        "believes a sender whose clock is a day off",
        "failsoft/policy/deadline.py",
        "transit = 0.0 if is_suspect else",
        "transit =",
        ("tests/policy/test_deadline.py::test_clocks_a_minute_apart_do_not_agree_and_the_transit_counts_as_nothing",),
    ),
    Mutant(
        "gives a call a window without reserve",
        "failsoft/policy/tiers.py",
        "return min(remaining_seconds - reserve, cap)",
        "return min(remaining_seconds, cap)",
        (f"{STAGE}::test_the_window_leaves_time_for_the_next_tier_and_for_publishing",),
    ),
    Mutant(
        "takes the earliest deadline whether it can be met or not",
        "failsoft/policy/tiers.py",
        "safe = queue.first_due_from(now + known.safe)",
        "safe = queue.first_due_from(now)",
        (f"{STAGE}::test_a_full_tier_passes_over_a_head_that_it_cannot_serve_safely",),
    ),
    Mutant(
        "serves in order of arrival",
        "failsoft/policy/scheduling.py",
        "self.entries.insert(bisect_right(self.entries, entry.deadline_at, key=_deadline), entry)",
        "self.entries.append(entry)",
        ("tests/policy/test_scheduling.py::test_the_earliest_deadline_comes_first_and_equal_ones_in_order_of_arrival",),
    ),
    Mutant(
        "waits for the full tier until the crowd behind the first is too late for the next",
        "failsoft/policy/stage/dispatcher.py",
        "if ease_ends_at <= self._now:",
        "if ease_ends_at <= 0:",
        (f"{SCENARIO}[batch-crowd]",),
    ),
    Mutant(
        "does not see the last responsible moment",
        "failsoft/policy/stage/dispatcher.py",
        "if ease_ends_at <= self._now:",
        "if False:",
        (f"{LIMITS}::test_a_crowd_that_a_lower_tier_works_off_one_by_one_begins_before_its_class_has_lost_patience",),
    ),
)

_TIERS = (
    Mutant(
        "gives everybody the constant",
        "failsoft/policy/stage/dispatcher.py",
        "while lane.entries and lane.entries[0].deadline_at < hopeless_by:",
        "while lane.entries:",
        (f"{STAGE}::test_a_request_that_does_not_fit_the_full_tier_goes_to_the_next_one",),
    ),
    Mutant(
        "goes to a lower tier before the class's patience is over",
        "failsoft/policy/stage/dispatcher.py",
        "return min(head.granted_at + known.patience, head.deadline_at - known.edge)",
        "return head.granted_at - 1",
        (f"{STAGE}::test_a_request_waits_for_the_full_tier_as_long_as_its_class_is_patient",),
    ),
    Mutant(
        "does not count what waits in the log",
        "failsoft/policy/stage/dispatcher.py",
        "if len(lane.entries) + self._backlog[lane.request_class] > known.limit:",
        "if len(lane.entries) > known.limit:",
        (f"{STAGE}::test_a_log_deeper_than_the_full_tier_works_off_in_time_lets_a_lower_tier_take_the_head",),
    ),
    Mutant(
        "leaves a flooded class no share of the full tier",
        "failsoft/policy/stage/dispatcher.py",
        "return min(overdue, key=lambda errand: charged(errand.lane[0]), default=earliest)",
        "return earliest",
        (f"{STAGE}::test_an_interactive_flood_leaves_the_other_classes_their_share_of_the_full_tier",),
    ),
    Mutant(
        "holds against a class what it was served while nobody else waited",
        "failsoft/policy/scheduling.py",
        "default=self._reached)",
        "default=0.0)",
        (f"{SCENARIO}[flood-after-quiet]",),
    ),
    Mutant(
        "answers from below the floor",
        "failsoft/policy/stage/endings.py",
        "            if level > request.floor:\n                continue\n",
        "",
        (f"{STAGE}::test_a_class_whose_floor_has_nothing_left_is_unavailable_and_never_answered_from_below",),
    ),
    Mutant(
        "lets a sender lower the floor of its class",
        "failsoft/policy/stage/arrival.py",
        "else min(known.floor, event.floor)",
        "else event.floor",
        (f"{STAGE}::test_a_request_may_not_ask_for_less_than_its_class",),
    ),
)

_LATENCY = (
    Mutant(
        "counts calls that were cut in the q99 of answers",
        "failsoft/policy/latency.py",
        "(q99,) = answers.quantiles((0.99,))",
        "(q99,) = everything.quantiles((0.99,))",
        (
            "tests/policy/test_latency.py::test_while_a_model_hangs_the_cap_of_its_window_stays_what_its_answers_made_it",
        ),
    ),
    Mutant(
        "leaves calls that were cut out, so that a hang looks fast",
        "failsoft/policy/latency.py",
        "            everything.merge(slot.censored)\n",
        "",
        (
            "tests/policy/test_latency.py::test_a_call_that_was_cut_counts_where_being_in_time_is_asked_and_not_as_an_answer",
        ),
    ),
    Mutant(
        "never probes an endpoint that has stalled",
        "failsoft/policy/stall.py",
        "return self.retry_at if in_flight < self._allowed else math.inf",
        "return math.inf if self._probing_since is not None else self.retry_at",
        (f"{STAGE}::test_a_tier_that_has_stopped_answering_is_probed_with_one_call_at_a_time",),
    ),
    Mutant(
        "feeds a hang with all permits",
        "failsoft/policy/stall.py",
        "        self._allowed = 1\n",
        "",
        (f"{STAGE}::test_a_tier_that_has_stopped_answering_is_probed_with_one_call_at_a_time",),
    ),
)

_BREAKER = (
    Mutant(
        "has a breaker that never opens",
        "failsoft/policy/breaker.py",
        "        if is_sick:\n            self._trip(now)",
        "        del is_sick",
        (f"{STAGE}::test_an_endpoint_that_keeps_failing_is_not_called_until_its_breaker_lets_a_probe_through",),
    ),
    Mutant(
        "closes a breaker on a stale epoch",
        "failsoft/policy/breaker.py",
        "is_news = heard.order > self.word.order",
        "is_news = heard.order != self.word.order",
        (f"{BREAKER}::test_a_late_close_of_an_earlier_epoch_is_ignored",),
    ),
    Mutant(
        "lets all through while half-open",
        "failsoft/policy/breaker.py",
        "is_full = len(probes) >= self._settings.permitted_number_of_calls_in_half_open",
        "is_full = False",
        (f"{BREAKER}::test_three_probes_are_in_flight_at_most_and_five_good_ones_close_it",),
    ),
    Mutant(
        "lets a call of before the opening vote on the probing",
        "failsoft/policy/breaker.py",
        "if permission.generation != self.generation or result is CallResult.IGNORED:",
        "if result is CallResult.IGNORED:",
        (f"{BREAKER}::test_a_call_admitted_before_the_opening_does_not_vote_afterwards",),
    ),
    Mutant(
        "lets one broken worker close an endpoint for all",
        "failsoft/policy/breaker_board.py",
        "return Pool(total, total - most_trouble,",
        "return Pool(total, total,",
        (f"{BOARD}::test_the_rest_leaves_out_whoever_has_most_trouble_oneself_too",),
    ),
    Mutant(
        "waits for ever for a prober that died",
        "failsoft/policy/breaker_board.py",
        "turn = max(TURN_SECONDS_MIN, 2 * q95_seconds)",
        "turn = 1e9 * q95_seconds",
        (f"{SCENARIO}[prober-killed]",),
    ),
    Mutant(
        "takes a busy endpoint for a broken one",
        "failsoft/policy/stage/endpoint.py",
        "Verdict.BACKPRESSURE: CallResult.IGNORED,",
        "Verdict.BACKPRESSURE: CallResult.FAILED,",
        (f"{LIMITS}::test_a_busy_endpoint_is_no_broken_one",),
    ),
)

_RETRIES = (
    Mutant(
        "retries without asking the budget",
        "failsoft/policy/stage/dispatcher.py",
        "        if not endpoint.try_withdraw(errand.lane[0], now=self._now):\n            return False\n",
        "",
        (f"{STAGE}::test_a_retry_that_the_budget_does_not_pay_for_is_the_next_tier",),
    ),
    Mutant(
        "retries where no time is left for it",
        "failsoft/policy/stage/dispatcher.py",
        "return wait if wait is not None and remaining - wait >= self._needed(errand, tier) else None",
        "return wait",
        (f"{LIMITS}::test_a_retry_for_which_no_time_is_left_is_the_next_tier_at_once",),
    ),
    Mutant(
        "retries a timeout at the same tier",
        "failsoft/policy/stage/dispatcher.py",
        "elif event.verdict in {Verdict.TRANSIENT, Verdict.UNREACHABLE} and",
        "elif event.verdict in {Verdict.TRANSIENT, Verdict.UNREACHABLE, Verdict.TIMEOUT} and",
        (f"{STAGE}::test_no_tier_is_called_twice_for_one_request",),
    ),
    Mutant(
        "waits for a busy endpoint past the class's patience",
        "failsoft/policy/stage/dispatcher.py",
        "if wait is not None and errand.waited_seconds(self._now) + wait > self._terms(errand).patience:",
        "if wait is None:",
        (f"{LIMITS}::test_a_busy_endpoint_is_waited_for_no_longer_than_the_class_is_patient_in_all",),
    ),
    Mutant(
        "lets the quiet past pay for a storm of retries",
        "failsoft/policy/retry_budget.py",
        "while self._deposits and self._deposits[0][0] <= slot - _SLOTS:",
        "while self._deposits and self._deposits[0][0] < 0:",
        ("tests/policy/test_retry_budget.py::test_the_quiet_past_pays_for_no_storm",),
    ),
    Mutant(
        "executes a request as often as the budget pays for",
        "failsoft/policy/retry_budget.py",
        "return executions < (EXECUTIONS_MAX_REDELIVERED if is_redelivery else EXECUTIONS_MAX)",
        "return executions >= 0",
        (f"{LIMITS}::test_a_request_is_executed_three_times_at_a_tier_whatever_the_budget_would_pay_for",),
    ),
)

_PERMITS = (
    Mutant(
        "never gives a permit back",
        "failsoft/policy/concurrency.py",
        "self.in_flight -= 1",
        "self.in_flight -= 0",
        (f"{STAGE}::test_a_fallback_gives_its_permit_back",),
    ),
    Mutant(
        "gives a permit back before its call is over",
        "failsoft/policy/stage/machine.py",
        "        if event.is_over:\n",
        "        if not event.is_over or event.is_over:\n",
        (f"{STAGE}::test_a_call_that_cannot_be_cut_holds_its_permit_until_it_is_really_over",),
    ),
    Mutant(
        "does not hear an endpoint that says it is busy",
        "failsoft/policy/concurrency.py",
        "self._move(self.value * HALVING)",
        "self._move(self.value)",
        ("tests/policy/test_concurrency.py::test_a_refusal_halves_the_limit_once_a_round_trip",),
    ),
    Mutant(
        "takes records while it drains",
        "failsoft/policy/stage/machine.py",
        "return 0 if self._is_draining or is_held or",
        "return 0 if is_held or",
        (f"{STAGE}::test_there_is_no_room_while_draining",),
    ),
)

_SHARING = (
    Mutant(
        "cuts what answers at once when the event loop is late",
        "failsoft/policy/tiers.py",
        "speed.q99, WINDOW_LEAST_SECONDS)",
        "speed.q99, 0.0)",
        (
            "tests/policy/test_tiers.py::test_a_tier_that_answers_at_once_has_a_quarter_of_a_second_so_that_a_late_loop_cuts_nobody",
        ),
    ),
    Mutant(
        "leaves all in the log when a tier wants a probe",
        "failsoft/policy/stage/dispatcher.py",
        "endpoint.is_stopped and not endpoint.is_open(now) for",
        "endpoint.is_stopped for",
        (
            "tests/simulation/test_scenarios.py::test_every_scenario_shows_what_it_must_and_breaks_no_invariant[outage-without-a-way-out]",
        ),
    ),
    Mutant(
        "drops the followers with the leader",
        "failsoft/policy/flight.py",
        "return not self._waiters",
        "return self.leader not in self._waiters",
        (f"{COALESCING}::test_when_the_leaders_deadline_comes_the_followers_are_served_all_the_same",),
    ),
    Mutant(
        "lets a request join an answer that comes too late for it",
        "failsoft/policy/flight.py",
        "outlook.level <= min(waiter.floor, at_least) and outlook.is_timely(waiter.deadline_at, now=now)",
        "outlook.level <= min(waiter.floor, at_least)",
        (f"{COALESCING}::test_a_running_flight_is_joined_by_whoever_accepts_its_level_and_has_the_time",),
    ),
    Mutant(
        "makes a call for each of a herd that has little time",
        "failsoft/policy/flight.py",
        "return now < self.even_at <= until and own_expected_at > deadline_at",
        "return False",
        (f"{SHARED}::test_a_herd_that_has_too_little_time_to_be_sure_is_one_call_all_the_same",),
    ),
    Mutant(
        "lets those who have time join a call that may be cut before it answers",
        "failsoft/policy/flight.py",
        "return now < self.even_at <= until and own_expected_at > deadline_at",
        "return now < self.even_at <= until",
        (f"{SHARED}::test_one_with_little_time_who_comes_first_does_not_cost_the_others_their_level",),
    ),
    Mutant(
        "makes a call for each of a herd while the best tier is stopped",
        "failsoft/policy/stage/dispatcher.py",
        "return next((level for level, endpoint in known if not endpoint.is_stopped), FALLBACK_LEVEL)",
        "return next((level for level, endpoint in known), FALLBACK_LEVEL)",
        (f"{SHARED}::test_while_the_full_tier_is_stopped_a_herd_is_one_call_of_the_next",),
    ),
    Mutant(
        "keeps what a failing model said as an answer",
        "failsoft/policy/answers.py",
        "if outcome is not Outcome.OK or (known",
        "if (known",
        ("tests/policy/test_answers.py::test_only_what_was_ok_is_kept",),
    ),
    Mutant(
        "sheds the urgent first",
        "failsoft/policy/admission.py",
        "enumerate(reversed(classes))",
        "enumerate(classes)",
        ("tests/policy/test_admission.py::test_the_less_urgent_of_the_classes_under_pressure_are_shed_first",),
    ),
    Mutant(
        "keeps the bodies of followers",
        "failsoft/policy/stage/machine.py",
        "            self._actions.append(Release(work.record))\n        self._put_in_place(errand)\n",
        "            pass\n        self._put_in_place(errand)\n",
        (f"{SHARED}::test_a_followers_body_is_dropped_at_once_and_the_leaders_when_the_call_is_over",),
    ),
    Mutant(
        "drops the body of a leader that leaves while others wait",
        "failsoft/policy/stage/sharing.py",
        "return record in self._body_users",
        "return False",
        (f"{SHARED}::test_the_leader_may_go_with_its_partition_and_the_execution_goes_on_with_its_body",),
    ),
    Mutant(
        "ends all who wait when the first must give up",
        "failsoft/policy/stage/machine.py",
        "hopeless = [work for work in works if not self._dispatcher.has_hope(work.request, errand.next_tier)]",
        "hopeless = works",
        (f"{SHARED}::test_of_two_with_different_floors_who_gave_up_the_looser_one_is_served_below",),
    ),
    Mutant(
        "lets nobody part from a call that lasts too long for it",
        "failsoft/policy/stage/machine.py",
        "            self._calls.is_last(call)\n            if early:",
        "            self._calls.is_last(call)\n            if False:",
        (f"{SHARED}::test_who_cannot_wait_for_the_end_of_the_call_goes_on_to_the_next_tier_with_the_same_body",),
    ),
    Mutant(
        "asks the model again while others need it",
        "failsoft/policy/stage/machine.py",
        "        if not self._dispatcher.is_idle(work.request, seconds=seconds, now=self._now):\n            return None\n",
        "",
        (f"{SHARED}::test_a_stale_answer_is_not_renewed_while_others_need_the_model",),
    ),
    Mutant(
        "serves what is older than the request tolerates",
        "failsoft/policy/stage/sharing.py",
        "tolerated = request.max_stale_seconds",
        "tolerated = None",
        (f"{SHARED}::test_what_a_request_tolerates_bounds_what_the_stage_does",),
    ),
    Mutant(
        "believes another worker's word on freshness beyond its own",
        "failsoft/policy/answers.py",
        "min(answer.fresh_seconds, longest)",
        "answer.fresh_seconds",
        (
            "tests/policy/test_answers.py::test_a_worker_goes_by_the_time_that_an_answer_was_given_and_never_beyond_its_own",
        ),
    ),
    Mutant(
        "takes its own answers for news when they come back from the log",
        "failsoft/policy/answers.py",
        "known.answer.produced_at + NEWS_SECONDS",
        "known.answer.produced_at",
        ("tests/policy/test_answers.py::test_what_the_log_tells_is_news_if_it_is_newer_by_a_second",),
    ),
    Mutant(
        "keeps answers of partitions that are another's",
        "failsoft/policy/stage/sharing.py",
        " or seen.number not in self._numbers",
        "",
        (f"{ANSWERS}::test_a_partition_takes_its_answers_along_and_late_news_of_it_is_ignored",),
    ),
    Mutant(
        "leaves the answers of a lost partition where they are",
        "failsoft/policy/stage/machine.py",
        "        self._drop_answers(self._sharing.lose(event.partitions))\n",
        "",
        (f"{ANSWERS}::test_a_partition_takes_its_answers_along_and_late_news_of_it_is_ignored",),
    ),
    Mutant(
        "says an answer is of the partition of a leader that has gone",
        "failsoft/policy/stage/sharing.py",
        "next(iter(self.aboard(errand)), errand.work)",
        "errand.work",
        (f"{ANSWERS}::test_the_answer_of_an_execution_whose_leader_has_gone_belongs_to_those_who_are_left",),
    ),
    Mutant(
        "takes what another worker was told for as old as the news of it",
        "failsoft/policy/stage/sharing.py",
        "now - max(0.0, seen.age_seconds)",
        "now",
        (f"{ANSWERS}::test_what_another_worker_was_told_serves_at_once_by_its_own_age",),
    ),
    Mutant(
        "serves at once with a level below the wanted one",
        "failsoft/policy/stage/sharing.py",
        "self._answer(work.request, wanted, now=now)",
        "self._answer(work.request, work.request.floor, now=now)",
        (f"{SHARED}::test_an_answer_of_a_lower_level_is_neither_fresh_for_those_who_may_get_a_better_one_nor_lost",),
    ),
    Mutant(
        "sheds who would be answered at once",
        "failsoft/policy/stage/dispatcher.py",
        "if request.floor >= self._answers_from or not allowed:",
        "if not allowed:",
        (f"{SHARED}::test_nobody_is_shed_where_something_answers_at_once",),
    ),
)

POLICIES = (*_OFFSETS, *_DEADLINES, *_TIERS, *_LATENCY, *_BREAKER, *_RETRIES, *_PERMITS, *_SHARING)
