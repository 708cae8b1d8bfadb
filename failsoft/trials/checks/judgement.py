"""All invariants of a trial, and the figures beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from failsoft.trials.checks.breaker import check_breakers
from failsoft.trials.checks.check import Check, Standing
from failsoft.trials.checks.deadline import check_deadlines
from failsoft.trials.checks.evidence import gather
from failsoft.trials.checks.executions import check_executions
from failsoft.trials.checks.flow import FaultTally, Flow, Quiet, by_kind, check_liveness, quiet_phases, recoveries
from failsoft.trials.checks.lost import check_lost
from failsoft.trials.checks.offsets import check_commits, check_places, check_regressions
from failsoft.trials.checks.phantom import check_phantoms
from failsoft.trials.checks.tenant import check_tenants
from failsoft.trials.checks.visible import check_visible, repeats_in_log
from failsoft.trials.history import History


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a trial has shown.

    Attributes:
        requests: accepted ones.
        in_time: of them, answered before their deadlines, at any level.
        unknown: sent, and neither accepted nor surely not.
        failed: sent, and surely not accepted.
        lost_by_operator: whose records somebody took away before they were read.
        executed_after_expiry: calls.
        executions: calls.
        repeated_executions: of them, for a record that another owner had called for.
        results: records in the log.
        repeats_in_log: of them, repeats.
        repeats_by_operator: of these, those of requests that an operator had read again.
        checks: in the order of the table in :mod:`failsoft.trials.checks`.
        faults: by kind.
        skipped: kind of fault -> why this machine could not have it.
        quiet: phases.
    """

    requests: int
    in_time: int
    unknown: int
    failed: int
    lost_by_operator: int
    executed_after_expiry: int
    executions: int
    repeated_executions: int
    results: int
    repeats_in_log: int
    repeats_by_operator: int
    checks: Sequence[Check]
    faults: Mapping[str, FaultTally]
    skipped: Mapping[str, str]
    quiet: Sequence[Quiet]

    @property
    def is_kept(self) -> bool:
        """Whether all invariants held."""
        return not any(check.standing is Standing.BROKEN for check in self.checks)

    def findings(self, name: str) -> int:
        """How many breaches of one invariant there were."""
        (check,) = (check for check in self.checks if check.name == name)
        return check.findings

    @property
    def loss_bound(self) -> float | None:
        """The rule of three: with no loss in n requests, the chance of one is below 3/n, at 95 %.

        It holds for independent requests. Those that one fault hits are not, so it says more than it should about faults that
        were not tried. None where something was lost, or nothing was asked.
        """
        return None if self.findings("lost") or not self.requests else 3 / self.requests


def judge(history: History) -> Judgement:
    """Hold a history against all invariants.

    Raises:
        UnreadableHistory: its parts do not belong together.
    """
    evidence = gather(history)
    flow = Flow(evidence)
    found, quiet = recoveries(flow), list(quiet_phases(flow))
    lost, by_operator = check_lost(evidence)
    executed, calls, repeated = check_executions(evidence)
    deadline, late = check_deadlines(evidence)
    repeats = repeats_in_log(evidence)
    order = Check("order", note="no order is promised between requests", without=Standing.NOT_APPLICABLE)
    accepted, everything = list(evidence.accepted), evidence.requests.values()
    return Judgement(
        requests=len(accepted),
        in_time=sum(request.is_in_time for request in accepted),
        unknown=sum(request.is_unknown for request in everything),
        failed=sum(not request.is_accepted and not request.is_unknown for request in everything),
        lost_by_operator=by_operator,
        executed_after_expiry=late,
        executions=calls,
        repeated_executions=repeated,
        results=repeats.records,
        repeats_in_log=repeats.repeats,
        repeats_by_operator=repeats.by_operator,
        checks=(
            lost,
            check_visible(evidence),
            executed,
            check_phantoms(evidence),
            check_places(evidence),
            check_commits(evidence),
            check_regressions(evidence),
            order,
            deadline,
            check_breakers(evidence),
            check_tenants(evidence),
            check_liveness(flow, found, quiet),
        ),
        faults=by_kind(flow, found),
        skipped=evidence.skipped,
        quiet=quiet,
    )
