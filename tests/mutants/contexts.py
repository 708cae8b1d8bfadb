"""Mistakes with contexts that are not complete, from the check of a part to the result that says what was found."""

from tests.mutants.mutant import Mutant

DAMAGED = "tests/acceptance/test_context.py"
STAGE = "tests/policy/test_stage_context.py"

CONTEXTS = (
    Mutant(
        "believes a part of the context without its check",
        "failsoft/policy/context.py",
        "Found.EMPTY if problem is not None else self._state(name, part, wall_now)",
        "self._state(name, part, wall_now)",
        ("tests/policy/test_context.py::test_a_part_said_to_be_there_with_nothing_in_it_is_found_out",),
    ),
    Mutant(
        "takes a part of the context for good whose check has raised",
        "failsoft/policy/context.py",
        '        return f"its check failed: {type(error).__name__}"\n',
        "        return None if error else None\n",
        (f"{DAMAGED}::test_a_check_that_raises_has_found_the_part_wrong",),
    ),
    Mutant(
        "calls an answer to less than the whole context level 1",
        "failsoft/policy/stage/arrival.py",
        "Reach(tiers, context.level(FULL_LEVEL))",
        "Reach(tiers, FULL_LEVEL)",
        (f"{STAGE}::test_a_tier_that_can_still_run_does_but_nobody_calls_its_answer_level_1",),
    ),
    Mutant(
        "calls a tier without the part of the context that it needs",
        "failsoft/policy/stage/arrival.py",
        " if context.allows(tier.needs))",
        " if tier.name)",
        (f"{STAGE}::test_a_tier_whose_part_is_missing_is_passed_over_at_once_and_the_reason_says_so",),
    ),
    Mutant(
        "names the queue where the context was the reason",
        "failsoft/policy/stage/work.py",
        "self.reason = work.request.first_reason",
        "self.reason = Reason.NONE",
        (f"{STAGE}::test_a_tier_whose_part_is_missing_is_passed_over_at_once_and_the_reason_says_so",),
    ),
    Mutant(
        "has those with another context served last, as long as there are others",
        "failsoft/policy/stage/columns.py",
        "                self._in_use.append(column)\n",
        "                self._in_use.insert(0, column)\n",
        (f"{STAGE}::test_whole_and_incomplete_requests_that_wait_for_the_same_tier_are_served_in_turn",),
    ),
    Mutant(
        "serves an incomplete context with the answer to a whole one",
        "failsoft/wire/content_key.py",
        "    found = () if lacking is None else (lacking,)\n",
        "    found = () if lacking is None else ()\n",
        (f"{DAMAGED}::test_the_same_documents_when_they_are_old_share_no_call_with_those_that_are_new",),
    ),
    Mutant(
        "hands a function the parts of the context that cannot be used",
        "failsoft/pipeline/stage.py",
        "if not state.is_usable}",
        "if state is None}",
        (f"{DAMAGED}::test_a_damaged_part_never_passes_for_level_1_and_never_fails_where_a_tier_can_answer",),
    ),
    Mutant(
        "takes what a process tier knows of a part of the context for the part",
        "failsoft/endpoints/frames.py",
        "    return value if state is None else ContextPart(value, PartState(state), produced_at)\n",
        "    return value if state is None else {'value': value, 'state': state, 'produced_at': produced_at}\n",
        ("tests/endpoints/test_processes.py::test_what_was_gathered_crosses_both_ways_with_what_is_known_of_it",),
    ),
    Mutant(
        "does not say what was found of the context",
        "failsoft/runtime/publisher.py",
        "context_state=None if held.context is None else str(held.context.at(self._clock.wall())),",
        "context_state=None,",
        (f"{DAMAGED}::test_several_parts_that_are_gone_leave_what_needs_none_of_them",),
    ),
)
