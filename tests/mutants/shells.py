"""Mistakes in what carries the decisions out, and in those who judge: runtime, Kafka, simulator, trials."""

from tests.mutants.mutant import Mutant

BREACH = "test_a_seeded_breach_is_caught_by_its_invariant_and_by_no_other"
CALLS = "tests/runtime/test_calls.py"
CHECKER = "tests/trials/test_checker.py"
FAULTS = "tests/kafka/test_protocol_faults.py"
CONFORMANCE = "tests/conformance/test_conformance.py"
HISTORY = "tests/trials/test_history.py"
INBOX = "tests/kafka/test_inbox.py"
LOGS = "tests/kafka/test_incarnations.py"
INVARIANTS = "tests/simulation/test_invariants.py"
PROCESSES = "tests/endpoints/test_processes.py"
RUNNER = "tests/runtime/test_runner.py"
SHARED_ANSWERS = "tests/runtime/test_shared_answers.py"
WATCHDOG = "tests/policy/test_watchdog.py"
WATCHED = "tests/runtime/test_worker_history.py"

_RUNTIME = (
    Mutant(
        "counts a result as published before the broker has it",
        "failsoft/runtime/runner.py",
        "        ending = await self._publisher.publish(held, action.ending, end, shared_with=shared_with)\n",
        "        self.feed(Published(action.record, action.assignment))\n"
        "        ending = await self._publisher.publish(held, action.ending, end, shared_with=shared_with)\n",
        (f"{RUNNER}::test_nothing_is_committed_before_its_result_is_acknowledged",),
    ),
    Mutant(
        "forgets a commit that the group did not take",
        "failsoft/runtime/runner.py",
        "self._to_commit = {**left, **self._to_commit}",
        "self._to_commit = {**self._to_commit}",
        (f"{RUNNER}::test_a_commit_that_the_group_did_not_take_is_tried_again",),
    ),
    Mutant(
        "lets a call run past its window",
        "failsoft/runtime/calls.py",
        "call_at(call.window_ends_at, self._cut, call_id)",
        "call_at(call.window_ends_at + 3600, self._cut, call_id)",
        (f"{RUNNER}::test_a_call_is_cut_at_its_window_and_the_next_tier_answers_in_time",),
    ),
    Mutant(
        "waits for ever for the end of a call that is over",
        "failsoft/runtime/calls.py",
        "is_over = under_way.running.over.done()  # it may be",
        "is_over = False  # it may be",
        (f"{CALLS}::test_a_call_that_is_over_when_it_is_cut_does_not_hold_its_slot",),
    ),
    Mutant(
        "serves what a model of another revision said",
        "failsoft/runtime/answer_log.py",
        "self._tiers.get(answer.tier) != (answer.name.level, answer.revision)",
        "answer.tier not in self._tiers",
        (f"{SHARED_ANSWERS}::test_another_revision_of_the_model_begins_with_nothing_and_displaces_nothing",),
    ),
    Mutant(
        "writes answers into the partition that their own key hashes to",
        "failsoft/runtime/answer_log.py",
        ", partition=number",
        "",
        (f"{SHARED_ANSWERS}::test_a_partition_that_goes_takes_its_answers_along_and_brings_newer_ones_back",),
    ),
    Mutant(
        "sends what it has heard of to the log again",
        "failsoft/runtime/runner.py",
        "if action.call_id is not None and self._answer_log is not None:",
        "if self._answer_log is not None:",
        (f"{SHARED_ANSWERS}::test_the_next_owner_of_a_partition_serves_what_the_last_one_was_told",),
    ),
    Mutant(
        "does not count what is under way into the log of answers",
        "failsoft/runtime/answer_log.py",
        "        self._bytes += record.size_bytes\n",
        "",
        ("tests/runtime/test_answer_log.py",),
    ),
    Mutant(
        "writes no dead letter",
        "failsoft/runtime/publisher.py",
        "if ending.dead_letter:",
        "if ending.dead_letter and held.fetched is None:",
        (f"{RUNNER}::test_a_malformed_record_is_a_dead_letter_first_and_a_result_then",),
    ),
    Mutant(
        "lets a record take the place of another that is in hand",
        "failsoft/runtime/runner.py",
        "            if fetched.record in self._held:\n                continue\n",
        "",
        (f"{RUNNER}::test_another_record_in_the_place_of_one_in_hand_does_not_take_it_over",),
    ),
    Mutant(
        "calls with the body of another record in the same place",
        "failsoft/runtime/runner.py",
        "return lent[assignment] if assignment in lent else self._held[record]",
        "return next(iter(lent.values()), None) or self._held[record]",
        (f"{RUNNER}::test_a_body_that_others_need_and_that_of_another_record_in_its_place_are_told_apart",),
    ),
    Mutant(
        "waits for its last commit as long as for any",
        "failsoft/runtime/runner.py",
        "asyncio.timeout(LAST_COMMIT_SECONDS)",
        "asyncio.timeout(60.0)",
        (f"{RUNNER}::test_draining_waits_a_second_for_the_last_commit_and_no_longer",),
    ),
    Mutant(
        "replies to whatever topic a sender names",
        "failsoft/runtime/publisher.py",
        "if topic is None or topic not in self._reply_topics:",
        "if topic is None:",
        (f"{RUNNER}::test_a_reply_goes_only_to_topics_that_the_catalogue_allows",),
    ),
)

_PROCESSES = (
    Mutant(
        "frees a slot before its new process is warm",
        "failsoft/endpoints/processes.py",
        "            self._replace_soon(child, over)\n",
        "            over.set_result(None)\n            self._replace_soon(child)\n",
        (f"{PROCESSES}::test_a_slot_is_not_free_before_its_new_process_is_warm",),
    ),
    Mutant(
        "lets what a process has started outlive the worker",
        "failsoft/endpoints/child.py",
        "fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())",
        "fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())",
        (f"{PROCESSES}::test_a_killed_worker_leaves_no_child_nor_what_a_child_has_started",),
    ),
    Mutant(
        "gives a process that still works on a cut call the next one",
        "failsoft/endpoints/child_process.py",
        "return not self.exited.done() and self._answer is None",
        "return not self.exited.done()",
        (f"{PROCESSES}::test_a_call_that_never_returns_is_killed_when_it_is_cut_and_its_slot_serves_again",),
    ),
    Mutant(
        "waits for ever for a worker's own code that is stuck",
        "failsoft/runtime/ending.py",
        "        latest.start()\n",
        "",
        ("tests/runtime/test_ending.py::test_time_ends_what_does_not_end_itself_with_the_code_that_is_true_by_then",),
    ),
)

_KAFKA = (
    Mutant(
        "shows a result again",
        "failsoft/kafka/results.py",
        "is_first = self._seen_at.pop(key, None) is None",
        "is_first = self._seen_at.pop(key, None) != timestamp",
        ("tests/kafka/test_results.py::test_the_first_of_an_id_counts_and_the_others_do_not",),
    ),
    Mutant(
        "keeps partitions over a generation that it was not in",
        "failsoft/kafka/private.py",
        "self.member_id == earlier.member_id and self.generation == earlier.generation + 1",
        "self.member_id == earlier.member_id",
        ("tests/kafka/test_private.py::test_only_the_same_member_in_the_next_generation_follows",),
    ),
    Mutant(
        "commits for an assignment that is over",
        "failsoft/kafka/membership.py",
        "            if self._owned.get(partition) == assignment\n",
        "            if partition in self._owned\n",
        (f"{INBOX}::test_the_commit_of_a_stale_assignment_is_dropped_and_cannot_rewind",),
    ),
    Mutant(
        "rewinds what it has committed",
        "failsoft/kafka/membership.py",
        "(progress.offset >= known.offset and progress != known)",
        "progress != known",
        (f"{INBOX}::test_a_lower_offset_of_the_same_assignment_is_not_sent",),
    ),
    Mutant(
        "does not look whether a topic was made anew",
        "failsoft/kafka/membership.py",
        "            await self._look_at_logs()\n",
        "",
        (f"{LOGS}::test_a_log_that_has_outgrown_the_old_one_before_anybody_looks_is_begun_at_its_beginning",),
    ),
    Mutant(
        "begins where a commit to another log says",
        "failsoft/policy/progress.py",
        'return self.log == log or "" in (self.log, log)',
        "return True",
        (f"{LOGS}::test_a_commit_that_names_another_log_is_void_also_where_its_offset_exists",),
    ),
    Mutant(
        "believes a broker that still tells of a log that was left",
        "failsoft/kafka/incarnations.py",
        "if name != known and name not in self._left:",
        "if name != known:",
        (f"{LOGS}::test_a_log_that_was_left_is_not_believed_in_again_when_a_broker_still_tells_of_it",),
    ),
)

_WATCHDOG = (
    Mutant(
        "ends a worker for an outage",
        "failsoft/policy/watchdog.py",
        " or not is_cluster_whole:",
        ":",
        (f"{WATCHDOG}::test_the_time_of_an_outage_is_nobodys_fault_and_what_follows_it_has_its_full_time",),
    ),
    Mutant(
        "ends a worker that was stopped and goes on",
        "failsoft/policy/watchdog.py",
        "min(since, 2 * LOOK_SECONDS)",
        "since",
        (f"{WATCHDOG}::test_of_a_pause_of_the_whole_process_only_a_step_counts",),
    ),
    Mutant(
        "takes the rest of a rebuilt part for health, and rebuilds it for ever",
        "failsoft/policy/watchdog.py",
        "(not self._is_rebuilt or self._rest_seconds >= self._rebuild_seconds)",
        "True",
        (f"{WATCHDOG}::test_the_rest_of_a_part_that_was_just_rebuilt_proves_nothing",),
    ),
    Mutant(
        "goes on with a producer whose sequence has a hole",
        "failsoft/kafka/outbox.py",
        "        self._give_up(line)\n        return _NotSent(",
        "        return _NotSent(",
        (f"{FAULTS}::test_what_leaves_a_hole_in_the_sequence_costs_the_producer_and_no_record",),
    ),
    Mutant(
        "takes an outage for a topic that is missing",
        "failsoft/kafka/missing.py",
        "        except EnvironmentFailure:\n            self._missing_since = None",
        "        except EnvironmentFailure as error:\n            raise ConfigurationError(self._topic) from error",
        (f"{FAULTS}::test_an_outage_is_not_taken_for_a_topic_that_is_missing",),
    ),
    Mutant(
        "says nothing of records that were deleted unread",
        "failsoft/kafka/fetcher.py",
        "if deleted > 0:",
        "if deleted > 1_000_000:",
        (f"{INBOX}::test_records_that_are_deleted_before_they_are_read_are_counted_and_those_behind_them_come",),
    ),
)

_MEMORY = (
    Mutant(
        "has a broker in memory that takes commits back",
        "failsoft/simulation/member.py",
        "(progress.offset >= known.offset and progress != known)",
        "progress != known",
        (f"{CONFORMANCE}::test_a_lower_offset_of_the_same_assignment_counts_as_taken_and_rewinds_nothing[memory]",),
    ),
    Mutant(
        "has a broker in memory that begins past the end of a log",
        "failsoft/simulation/member.py",
        "return mark if mark.offset <= self._coordinator.logs[partition].end else Progress(0)",
        "return mark",
        (f"{CONFORMANCE}::test_a_commit_past_the_end_of_the_log_begins_at_its_beginning[memory]",),
    ),
    Mutant(
        "has readers of the broker in memory that never forget",
        "failsoft/testing/memory/results.py",
        "FirstSeen(horizon_seconds=horizon_seconds, limit=limit)",
        "FirstSeen(horizon_seconds=HORIZON_SECONDS, limit=limit)",
        (f"{CONFORMANCE}::test_a_repeat_further_away_than_the_horizon_is_seen_again[memory]",),
    ),
)

_SIMULATION = (
    Mutant(
        "simulates a group that takes commits of old generations",
        "failsoft/simulation/world/group.py",
        "return Answer.OK if generation == self.generation else Answer.ILLEGAL_GENERATION",
        "return Answer.OK",
        (
            "tests/simulation/test_world.py::test_a_commit_is_taken_from_the_member_and_generation_that_own_and_from_nobody_else",
        ),
    ),
    Mutant(
        "simulates a reader that sees repeats",
        "failsoft/simulation/world/visible.py",
        "            return False\n",
        "            return True\n",
        ("tests/simulation/test_world.py::test_the_first_result_of_an_id_is_visible_and_its_repeats_are_counted",),
    ),
    Mutant(
        "judges without looking for commits ahead of results",
        "failsoft/simulation/invariants.py",
        "if sent.ask.number not in self._with_result:",
        "if sent.ask.number not in self._accepted:",
        (f"{INVARIANTS}::test_a_commit_past_a_record_without_a_result_is_noticed",),
    ),
    Mutant(
        "judges without counting what is lost",
        "failsoft/trials/ledger.py",
        "lost=len(ids) - len(ended),",
        "lost=0,",
        ("tests/trials/test_ledger.py::test_an_accepted_request_without_a_result_is_lost",),
    ),
    Mutant(
        "judges without counting what is seen twice",
        "failsoft/trials/ledger.py",
        "visible_repeats=sum(count - 1 for count in self._shown.values()),",
        "visible_repeats=0,",
        ("tests/trials/test_ledger.py::test_a_result_that_a_reader_is_shown_twice_is_a_broken_promise",),
    ),
)

_JUDGE = (
    Mutant(
        "judges commits by results that came later",
        "failsoft/trials/checks/offsets.py",
        "is_done = below == 0 or done_at[below - 1] <= at",
        "is_done = below == 0 or done_at[below - 1] < float('inf')",
        (f"{CHECKER}::{BREACH}[committed_before_the_result]",),
    ),
    Mutant(
        "judges calls by the clock of the worker that made them",
        "failsoft/trials/checks/deadline.py",
        "            late = line.at - expires_at\n",
        "            late = line.broker_at - expires_at\n",
        (f"{CHECKER}::test_a_worker_whose_clock_is_wrong_is_judged_by_the_right_one",),
    ),
    Mutant(
        "takes a send of which nothing is known for one that surely failed",
        "failsoft/trials/checks/phantom.py",
        "is_asked = request.is_accepted or request.is_unknown",
        "is_asked = request.is_accepted",
        (f"{CHECKER}::test_a_send_of_which_nothing_is_known_may_have_a_result_and_need_not",),
    ),
    Mutant(
        "excuses whatever has no result by what an operator did",
        "failsoft/trials/checks/evidence.py",
        "and gone.first <= place.offset\n",
        "\n",
        (f"{CHECKER}::test_what_an_operator_took_away_is_counted_apart",),
    ),
    Mutant(
        "believes a dump that is not whole",
        "failsoft/trials/history/loading.py",
        "is_whole = line.records == len(dump.records)",
        "is_whole = True",
        (f"{HISTORY}::test_a_dump_that_is_not_whole_is_refused[a record]",),
    ),
    Mutant(
        "writes an opening of a breaker down before the calls of its instant",
        "failsoft/runtime/worker_history.py",
        "if (found is state) == is_wanted and",
        "if (found is state) != is_wanted and",
        (f"{WATCHED}::test_an_opening_stands_behind_the_calls_before_it_and_before_the_probe_after_it",),
    ),
)

_INPUT = (
    Mutant(
        "publishes an answer that no reader reads",
        "failsoft/wire/body.py",
        "    parse_json(value, limit_bytes=limit_bytes, field=field_)\n",
        "    assert len(value) <= limit_bytes\n",
        ("tests/wire/test_body.py::test_an_answer_that_readers_would_not_read_is_refused_before_sending",),
    ),
    Mutant(
        "reads an instant that it cannot write",
        "failsoft/wire/timestamp.py",
        "if _FIRST <= at <= _LAST:",
        "if at < 2 * _LAST:",
        ("tests/wire/test_timestamp.py::test_anything_else_is_refused_by_the_name_of_its_field",),
    ),
    Mutant(
        "lets producers read each other's requests",
        "failsoft/catalogue/rights.py",
        'catalogue.pipelines[pipeline][0]).values(), "Write")',
        'catalogue.pipelines[pipeline][0]).values(), "Read", "Write")',
        ("tests/catalogue/test_rights.py::test_a_role_has_what_it_needs_and_no_more",),
    ),
    Mutant(
        "logs what a model has raised, prompt and all",
        "failsoft/runtime/calls.py",
        "verdict=verdict.value, error=type(end).__name__",
        "verdict=verdict.value, error=repr(end)",
        ("tests/acceptance/test_no_payload_in_logs.py",),
    ),
)

SHELLS = (*_RUNTIME, *_PROCESSES, *_KAFKA, *_WATCHDOG, *_MEMORY, *_INPUT, *_SIMULATION, *_JUDGE)
