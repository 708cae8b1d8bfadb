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
)
