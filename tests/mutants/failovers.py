"""Mistakes in who is called in which region, and in how an operator moves that."""

from tests.mutants.mutant import Mutant

OPERATOR = "tests/failover/test_operator.py"
REGIONS = "tests/policy/test_stage_regions.py"

FAILOVERS = (
    Mutant(
        "sends everybody where the first request belongs",
        "failsoft/policy/stage/columns.py",
        "at = 0 if len(self._columns) == 1 else bisect_right(self._bounds, place(request.identity))",
        "at = 0",
        (f"{REGIONS}::test_requests_that_share_nothing_part_as_the_share_says",),
    ),
    Mutant(
        "leaves those who wait where they were when a route moves",
        "failsoft/policy/stage/columns.py",
        "        waiting = [errand for column in self._in_use for errand in column.take_out_all()]\n",
        "        waiting: list[Errand] = []\n",
        (f"{REGIONS}::test_who_waits_goes_where_the_route_leads_now",),
    ),
    Mutant(
        "calls nobody again where his route leads now",
        "failsoft/policy/stage/columns.py",
        "            column.turn_back(errand, now=now)\n",
        "",
        (f"{REGIONS}::test_whom_a_region_has_failed_is_called_where_the_route_leads_now",),
    ),
    Mutant(
        "calls those again whom their tiers have failed before",
        "failsoft/policy/stage/machine.py",
        "errand.next_tier, errand.ready_at = errand.untried_after(tier), self._now",
        "errand.next_tier, errand.ready_at = tier + 1, self._now",
        (f"{REGIONS}::test_who_is_called_in_another_region_is_not_called_again_by_a_tier_below",),
    ),
    Mutant(
        "takes what could not be measured for good",
        "failsoft/failover/checks.py",
        "        passed = False\n",
        "        passed = True\n",
        (f"{OPERATOR}::test_what_could_not_be_measured_has_not_passed",),
    ),
    Mutant(
        "goes on although a check failed",
        "failsoft/failover/run.py",
        "if not all(each.passed for each in found):",
        "if not found:",
        (f"{OPERATOR}::test_a_check_that_fails_takes_everything_back_at_any_step",),
    ),
    Mutant(
        "lets two operators have one route",
        "failsoft/failover/operator.py",
        "        if not await self._holds(run):\n            await self._book.withdraw(run)\n",
        "        if not run:\n            await self._book.withdraw(run)\n",
        (f"{OPERATOR}::test_of_two_who_begin_step_by_step_side_by_side_one_wins",),
    ),
    Mutant(
        "carries on where another was without a word of its own",
        "failsoft/failover/run.py",
        "phase = Phase.SHIFT if self.phase is Phase.VERIFY else self.phase",
        "phase = self.phase",
        (f"{OPERATOR}::test_whoever_takes_over_says_the_route_again_under_his_own_epoch",),
    ),
    Mutant(
        "goes by the runs of one instant and the route of another",
        "failsoft/failover/operator.py",
        "if held == before or (held is not None and held.is_open):",
        "if True:",
        (f"{OPERATOR}::test_of_two_who_begin_at_once_one_is_refused_and_moves_nothing",),
    ),
    Mutant(
        "takes a drill of another runbook for this one's",
        "failsoft/failover/logbook.py",
        "            and (run.runbook, run.runbook_hash) == (runbook, runbook_hash)\n",
        "            and run.runbook == runbook\n",
        (f"{OPERATOR}::test_a_drill_holds_only_for_what_the_runbook_said",),
    ),
    Mutant(
        "ends a drill where it has led",
        "failsoft/failover/run.py",
        "if self.kind is Kind.DRILL and self.steps:",
        "if False:",
        (f"{OPERATOR}::test_a_drill_moves_what_it_declares_and_brings_it_back",),
    ),
    Mutant(
        "measures a share before it was held",
        "failsoft/failover/run.py",
        "return Look(step.share, step.hold_seconds)",
        "return Look(step.share, 0.0)",
        (f"{OPERATOR}::test_the_real_thing_goes_by_its_steps_until_all_is_in_the_target",),
    ),
    Mutant(
        "leaves the last word to another where nothing has moved",
        "failsoft/failover/run.py",
        "phase=Phase.RETURN, verdict=Verdict.FAILED)",
        "phase=Phase.ENDED, verdict=Verdict.FAILED, ended_at=now)",
        (f"{OPERATOR}::test_a_check_that_fails_takes_everything_back_at_any_step",),
    ),
    Mutant(
        "says of a run that was taken back that all is in the target",
        "failsoft/failover/run.py",
        "self.verdict is Verdict.PASSED and self.kind is Kind.EXECUTE:",
        "self.steps:",
        (f"{OPERATOR}::test_a_run_that_has_ended_says_where_the_requests_are",),
    ),
    Mutant(
        "takes a route over without a claim that can be told from a confirmed one",
        "failsoft/failover/run.py",
        "by=by, is_claim=True, phase=phase)",
        "by=by, phase=phase)",
        (f"{OPERATOR}::test_also_where_one_of_two_side_by_side_is_killed",),
    ),
    Mutant(
        "carries on under the epoch of whom it takes over from",
        "failsoft/failover/run.py",
        "return replace(self, epoch=epoch, session=session, by=by, is_claim=True, phase=phase)",
        "return replace(self, session=session, by=by, is_claim=True, phase=phase)",
        (f"{OPERATOR}::test_whoever_takes_over_says_the_route_again_under_his_own_epoch",),
    ),
    Mutant(
        "moves what it takes over without looking first",
        "failsoft/failover/run.py",
        "Phase.SHIFT if self.phase is Phase.VERIFY else",
        "Phase.SHIFT if self.phase in {Phase.BEFORE, Phase.VERIFY} else",
        (f"{OPERATOR}::test_whoever_takes_over_before_anything_has_moved_looks_first",),
    ),
)
